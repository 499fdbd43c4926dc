"""Tells Django that this package has templates."""

from django.apps import AppConfig


class BackofficeConfig(AppConfig):
    name = "refill.channels.backoffice"
    label = "backoffice"
