"""The schema of cases."""
