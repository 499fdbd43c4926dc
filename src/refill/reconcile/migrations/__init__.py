"""The schema of reconciliation."""
