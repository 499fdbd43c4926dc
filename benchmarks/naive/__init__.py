"""A top-up as a Django application would usually write it: one request, one transaction, the ORM."""
