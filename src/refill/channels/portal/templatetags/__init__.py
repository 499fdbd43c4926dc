"""How values of the trade are written on a page."""
