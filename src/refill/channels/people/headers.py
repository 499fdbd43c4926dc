"""Adds the security headers that Django has no setting for."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from refill.channels.people.django_settings import STAFF_POLICY

STAFF = "/staff/"
YEAR_S = 365 * 86400


class Headers:
    """HSTS when people reach us by https; the staff's wider content policy; no page of a person in a shared cache."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if settings.PUBLIC_URL.startswith("https://"):
            response.headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
        if request.path.startswith(STAFF):
            response._csp_config = STAFF_POLICY
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
        return response
