"""The schema of the inbox."""
