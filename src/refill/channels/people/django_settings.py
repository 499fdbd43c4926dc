"""Django's settings, made from ours by one call; importing this does nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

HERE = Path(__file__).parent
UNSIGNED = "-"  # the secret key of commands: they sign nothing

# Packages with tables come in the order of the house, lowest first; doors last.
OURS = (
    "refill.numbers",
    "refill.accounts",
    "refill.cards",
    "refill.vouchers",
    "refill.stock",
    "refill.notify",
    "refill.catalogue",
    "refill.ledger",
    "refill.inbox",
    "refill.cases",
    "refill.topup",
    "refill.reconcile",
    "refill.uploads",
    "refill.channels.people",
    "refill.channels.portal",
    "refill.channels.backoffice",
)
DJANGOS = (
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
)

# Nothing inline, nothing foreign. `form-action` stays with us too: the way to a payment firm is a link, not a form.
CUSTOMERS_POLICY = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "connect-src": ["'self'"],
    "manifest-src": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
}
# django-unfold writes Alpine expressions into its pages; behind the staff's sign-in that is allowed, and only there.
STAFF_POLICY = {
    **CUSTOMERS_POLICY,
    "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "font-src": ["'self'"],
}

MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "refill.channels.people.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "csp.middleware.CSPMiddleware",
    "refill.channels.people.headers.Headers",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
)


def configure(
    dsn: str,
    secret_key: str,
    *,
    public_url: str = "http://127.0.0.1:8000",
    hosts: Sequence[str] = (),
    time_zone: str = "Asia/Shanghai",
    debug: bool = False,
) -> None:
    """Sets Django up for one database; called again with another database it moves there.

    dsn: PostgreSQL, as URL or `key=value`, also with a Unix socket's folder as host. hosts: names under which people
    reach us beside that of `public_url` and the machine itself.
    """
    import django
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        settings.configure(**_values(dsn, secret_key, public_url, hosts, time_zone, debug))
        django.setup()
        return
    wanted = _values(dsn, secret_key, public_url, hosts, time_zone, debug)
    if wanted["DATABASES"] != settings.DATABASES:
        connections.close_all()
        settings.DATABASES = wanted["DATABASES"]
        connections.settings = connections.configure_settings(settings.DATABASES)
        if hasattr(connections._connections, "default"):
            del connections["default"]
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        setattr(settings, name, wanted[name])


def configure_once(dsn: str) -> None:
    """For commands that need Django's tools but serve no pages: leaves what is configured already as it is."""
    from django.conf import settings

    if not settings.configured:
        configure(dsn, UNSIGNED)


def database(dsn: str) -> dict[str, Any]:
    """One entry of Django's DATABASES from a PostgreSQL DSN."""
    parts = dict(conninfo_to_dict(dsn))
    entry: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "") or "postgres",
        "USER": parts.pop("user", "") or "",
        "PASSWORD": parts.pop("password", "") or "",
        "HOST": parts.pop("host", "") or "",
        "PORT": str(parts.pop("port", "") or ""),
        "CONN_MAX_AGE": None,  # few threads, each with its own connection for ever
        "CONN_HEALTH_CHECKS": True,  # after a restart of PostgreSQL the next page works
        "OPTIONS": {**{name: value for name, value in parts.items() if value is not None}, "pool": False},
    }
    entry["OPTIONS"].setdefault("application_name", "refill pages")
    return entry


def _values(
    dsn: str, secret_key: str, public_url: str, hosts: Sequence[str], time_zone: str, debug: bool
) -> dict[str, Any]:
    where = urlsplit(public_url)
    https = where.scheme == "https"
    return {
        "SECRET_KEY": secret_key,
        "DEBUG": debug,
        "ALLOWED_HOSTS": sorted({where.hostname or "127.0.0.1", "127.0.0.1", "localhost", "[::1]", *hosts}),
        "CSRF_TRUSTED_ORIGINS": [f"{where.scheme}://{where.netloc}"] if where.netloc else [],
        "DATABASES": {"default": database(dsn)},
        "INSTALLED_APPS": [*DJANGOS, *OURS],
        "AUTH_USER_MODEL": "people.Person",
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "MIDDLEWARE": list(MIDDLEWARE),
        "ROOT_URLCONF": "refill.channels.people.urls",
        "WSGI_APPLICATION": None,
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.template.context_processors.i18n",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ],
                },
            }
        ],
        # Two languages; Chinese when the browser asks for neither.
        "LANGUAGE_CODE": "zh-hans",
        "LANGUAGES": [("zh-hans", "中文"), ("en", "English")],
        "LANGUAGE_COOKIE_NAME": "language",
        "LANGUAGE_COOKIE_AGE": 365 * 86400,
        "LANGUAGE_COOKIE_SAMESITE": "Lax",
        "LANGUAGE_COOKIE_SECURE": https,
        "LOCALE_PATHS": [str(HERE / "locale")],
        "USE_I18N": True,
        "USE_TZ": True,
        "TIME_ZONE": time_zone,
        # Sessions are rows; the cookie says nothing but a random name.
        "SESSION_ENGINE": "django.contrib.sessions.backends.db",
        "SESSION_COOKIE_NAME": "refill",
        "SESSION_COOKIE_AGE": 30 * 86400,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",  # the way back from a payment firm is a link, which Lax lets through
        "SESSION_COOKIE_SECURE": https,
        "CSRF_COOKIE_HTTPONLY": True,
        "CSRF_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_SECURE": https,
        "CSRF_FAILURE_VIEW": "refill.channels.people.pages.no_cookie",
        "MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage",
        "SECURE_CONTENT_TYPE_NOSNIFF": True,
        "SECURE_REFERRER_POLICY": "same-origin",
        "SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin",
        "SECURE_HSTS_SECONDS": 0,  # `headers` adds it, because TLS usually ends in front of us
        "X_FRAME_OPTIONS": "DENY",
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": CUSTOMERS_POLICY},
        "STATIC_URL": "/static/",
        "STORAGES": {
            "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
            "staticfiles": {"BACKEND": "refill.channels.people.static_files.NamedByContent"},
        },
        "WHITENOISE_USE_FINDERS": True,
        "WHITENOISE_AUTOREFRESH": False,
        "WHITENOISE_ALLOW_ALL_ORIGINS": False,
        "LOGIN_URL": "/staff/login/",
        "DATA_UPLOAD_MAX_MEMORY_SIZE": 64 * 1024,
        # Files that staff send stay in memory: a file of PINs must not lie in a folder for temporary files.
        "FILE_UPLOAD_HANDLERS": ["django.core.files.uploadhandler.MemoryFileUploadHandler"],
        "FILE_UPLOAD_MAX_MEMORY_SIZE": 5 << 20,
        "DATA_UPLOAD_MAX_NUMBER_FIELDS": 100,
        "AUTH_PASSWORD_VALIDATORS": [
            {
                "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
                "OPTIONS": {"min_length": 12},
            },
            {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
        ],
        "LOGGING_CONFIG": None,  # `app` owns the logs; Django's names arrive there like all others
        "UNFOLD": {
            "SITE_TITLE": "Refill",
            "SITE_HEADER": "Refill",
            "SITE_SUBHEADER": "话费充值",
            "SITE_URL": "/",
            "SHOW_HISTORY": False,
            "SHOW_VIEW_ON_SITE": False,
            "SHOW_LANGUAGES": False,
            "SITE_FAVICONS": [
                {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: _static("refill/icon.svg")}
            ],
            "STYLES": [lambda _request: _static("refill/staff.css")],
            "SIDEBAR": {
                "show_search": False,
                "command_search": False,
                "show_all_applications": False,
                "navigation": "refill.channels.backoffice.words.navigation",
            },
            "COLORS": {
                "primary": {
                    "50": "236 253 245",
                    "100": "209 250 229",
                    "200": "167 243 208",
                    "300": "110 231 183",
                    "400": "52 211 153",
                    "500": "16 150 110",
                    "600": "0 118 86",
                    "700": "0 100 74",
                    "800": "6 80 60",
                    "900": "6 65 50",
                    "950": "2 40 31",
                }
            },
        },
        "PUBLIC_URL": public_url,
    }


def _static(name: str) -> str:
    from django.templatetags.static import static

    return static(name)
