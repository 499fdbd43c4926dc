"""The schema of the book."""
