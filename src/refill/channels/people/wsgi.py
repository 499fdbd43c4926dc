"""The WSGI application of all pages for people; `app` puts it beside the machines' doors."""

from typing import Any


def application() -> Any:
    """Call `django_settings.configure` and `bridge.bind` first; then serve this with `a2wsgi.WSGIMiddleware(…, workers=2)`."""
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()
