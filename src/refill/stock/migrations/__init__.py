"""The schema of the stock of PINs."""
