"""The schema of top-ups."""
