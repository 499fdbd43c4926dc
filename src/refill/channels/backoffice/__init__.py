"""The staff's pages: find an order, read its whole story, settle what only a person can settle."""
