"""Reconciliation has no Django models: its pages ask `refill.reconcile`. The module makes the package an application."""
