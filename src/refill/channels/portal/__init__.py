"""The customers' pages: a number, an amount, a payment, and the truth about what became of it."""
