"""Addresses of all pages for people."""

from django.urls import include, path

from refill.channels.people import pages

urlpatterns = [
    path("manifest.webmanifest", pages.manifest),
    path("", include("refill.channels.backoffice.urls")),
    path("", include("refill.channels.portal.urls")),
]
handler400 = "refill.channels.people.pages.bad_request"
handler403 = "refill.channels.people.pages.forbidden"
handler404 = "refill.channels.people.pages.not_found"
handler500 = "refill.channels.people.pages.failed"
