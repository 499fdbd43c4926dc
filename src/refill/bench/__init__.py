"""How fast we are, as ratios against references that are measured in the same run on the same machine."""

from refill.bench.run import NAMES, run

__all__ = ["NAMES", "run"]
