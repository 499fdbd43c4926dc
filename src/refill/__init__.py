"""Refill: one exact core that sells phone credit through every door and never loses a cent."""

__version__ = "0.1.0"
