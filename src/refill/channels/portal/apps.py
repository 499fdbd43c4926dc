"""Tells Django that this package has templates."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "refill.channels.portal"
    label = "portal"
