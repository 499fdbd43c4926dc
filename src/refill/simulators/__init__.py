"""The other ends of the wires, shipped with the product: each is a plain class with `handle`, its own clock and dice."""
