"""Tells Django that this package has a site of its own."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

TITLES = {
    "accounts": _("Partners"),
    "cases": _("Cases"),
    "catalogue": _("On sale"),
    "people": _("People"),
    "topup": _("Top-ups"),
}


class BackofficeConfig(AppConfig):
    name = "refill.channels.backoffice"
    label = "backoffice"
    verbose_name = _("Our network")

    def ready(self) -> None:
        """The packages of the spine have no names for people; on the staff's pages they get them."""
        from django.apps import apps

        for label, title in TITLES.items():
            apps.get_app_config(label).verbose_name = title
