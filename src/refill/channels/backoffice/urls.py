"""Addresses of the staff's site."""

from django.urls import path

from refill.channels.backoffice import lists  # noqa: F401 - its lists register themselves
from refill.channels.backoffice.site import site

urlpatterns = [path("staff/", site.urls)]
