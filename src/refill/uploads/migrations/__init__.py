"""The schema of uploaded files."""
