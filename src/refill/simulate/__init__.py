"""Seeded days of the shipped engine: everything fails, then heals, and the truth decides whether a cent was lost.

One seed is one run, byte for byte, in every process. `refill simulate --seed N --trace` shows what happened in one.
"""
