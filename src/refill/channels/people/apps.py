"""Tells Django that this package has tables, templates and translations."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "refill.channels.people"
    label = "people"
    verbose_name = "People"
    default_auto_field = "django.db.models.BigAutoField"
