"""Tells Django that this package has a site of its own."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BackofficeConfig(AppConfig):
    name = "refill.channels.backoffice"
    label = "backoffice"
    verbose_name = _("Our network")
