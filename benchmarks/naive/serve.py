"""Makes the tables and serves the naive version: `python -m naive.serve` with what `NAIVE_*` says in the environment."""

import hashlib
import os
import sys
from datetime import timedelta

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["naive"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # sends Content-Length
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ROOT_URLCONF="naive.urls",
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["NAIVE_HOST"],
            "USER": os.environ["NAIVE_USER"],
            "NAME": os.environ["NAIVE_NAME"],
            "CONN_MAX_AGE": None,
        }
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - Django wants its settings first
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from naive.models import Account, ApiKey, Event, Name, Order, Subscriber, Transfer  # noqa: E402

application = get_wsgi_application()


def prepare(bearer: str, digits: list[str], float_minor: int) -> None:
    """Tables, one partner with a float, and its customers' numbers."""
    with connection.schema_editor() as editor:
        for model in (ApiKey, Account, Subscriber, Order, Name, Event, Transfer):
            editor.create_model(model)
    ApiKey.objects.create(digest=hashlib.sha256(bearer.encode()).hexdigest(), partner="pa_naive")
    Account.objects.create(name="float:pa_naive/CNY", balance=float_minor)
    accounts = Account.objects.bulk_create(
        [Account(name=f"balance:{number}/CNY") for number in digits], batch_size=5000
    )
    until = timezone.now() + timedelta(days=30)
    Subscriber.objects.bulk_create(
        [Subscriber(number=n, account=a, active_until=until) for n, a in zip(digits, accounts, strict=True)],
        batch_size=5000,
    )


if __name__ == "__main__":
    prepare(os.environ["NAIVE_BEARER"], sys.stdin.read().split(), 10**15)
