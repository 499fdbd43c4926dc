"""Pages that belong to no door: what was not found, what failed, and what an installed app is called."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.utils.translation import gettext as _


def manifest(request: HttpRequest) -> HttpResponse:
    """So that a phone can put the pages on its home screen (W3C Web Application Manifest)."""
    return JsonResponse(
        {
            "name": "Refill",
            "short_name": "Refill",
            "start_url": "/",
            "display": "standalone",
            "background_color": "#f3f6f4",
            "theme_color": "#00704f",
            "icons": [{"src": static("refill/icon.svg"), "sizes": "any", "type": "image/svg+xml"}],
        },
        content_type="application/manifest+json",
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    says = _("This page does not exist, or it belongs to another browser. Orders open only where they were made.")
    return _say(request, 404, _("Not found"), says)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _say(request, 400, _("That could not be read"), _("Please go back and try again; nothing was charged."))


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _say(request, 403, _("Not allowed"), _("You may not open this page."))


def failed(request: HttpRequest) -> HttpResponse:
    says = _("Something went wrong on our side. Open the page again; an order is never charged twice.")
    return _say(request, 500, _("Sorry"), says)


def no_cookie(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form came without our cookie: another site sent it, or cookies are off."""
    says = _("This form did not come from our page, or cookies are switched off. Open the page again and repeat.")
    return _say(request, 403, _("Please try again"), says)


def _say(request: HttpRequest, status: int, title: str, says: str) -> HttpResponse:
    return render(request, "people/say.html", {"heading": title, "says": says}, status=status)
