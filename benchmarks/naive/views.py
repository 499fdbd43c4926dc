"""POST /v1/topups, straight down: read, check, lock, write, commit, answer."""

import hashlib
import json
import re
import uuid
from datetime import timedelta
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from naive.models import Account, ApiKey, Event, Name, Order, Subscriber, Transfer

MSISDN = re.compile(r"\+861[3-9][0-9]{9}")
FIELDS = {"msisdn", "amount", "currency", "reference"}


@csrf_exempt
def topup(request: HttpRequest) -> JsonResponse:
    """201 for a new top-up, 200 for a repeated one."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    api_key = ApiKey.objects.filter(digest=hashlib.sha256(bearer.encode()).hexdigest()).first()
    if api_key is None:
        return JsonResponse({"code": "no_key"}, status=401)
    try:
        asked = json.loads(request.body)
    except ValueError:
        return JsonResponse({"code": "bad_request"}, status=400)
    if set(asked) != FIELDS or not MSISDN.fullmatch(asked["msisdn"]) or asked["currency"] != "CNY":
        return JsonResponse({"code": "bad_input"}, status=422)
    face_minor = int(Decimal(asked["amount"]) * 100)
    content = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    names = [
        f"{api_key.partner}:key:{request.headers['Idempotency-Key']}",
        f"{api_key.partner}:ref:{asked['reference']}",
    ]

    try:
        return place(api_key.partner, asked, face_minor, names, content)
    except IntegrityError:  # the same request came twice at once, and the other was quicker
        return _repeated(names, content) or JsonResponse({"code": "busy"}, status=503)


def place(partner: str, asked: dict[str, str], face_minor: int, names: list[str], content: str) -> JsonResponse:
    """The whole top-up in one transaction."""
    with transaction.atomic():
        repeated = _repeated(names, content)
        if repeated is not None:
            return repeated
        float_ = Account.objects.select_for_update().get(name=f"float:{partner}/CNY")
        if float_.balance - face_minor < float_.floor:
            return JsonResponse({"code": "insufficient_funds"}, status=402)
        subscriber = Subscriber.objects.select_for_update().get(number=asked["msisdn"][1:])
        credit = Account.objects.select_for_update().get(pk=subscriber.account_id)
        now = timezone.now()
        subscriber.active_until = max(subscriber.active_until, now) + timedelta(days=30)
        subscriber.save(update_fields=["active_until"])
        order = Order.objects.create(
            id=f"tu_{uuid.uuid4().hex[:24]}",
            payer=partner,
            channel="partner_api",
            number=subscriber.number,
            operator="home",
            product="home-any",
            supplier="home",
            face_minor=face_minor,
            price_minor=face_minor,
            currency="CNY",
            reference=asked["reference"],
            payment="captured",
            delivery="delivered",
            captured_minor=face_minor,
            delivered_minor=face_minor,
            created_at=now,
            final_at=now,
            valid_until=subscriber.active_until,
        )
        for name in names:
            Name.objects.create(name=name, content=content, order=order)
        Event.objects.create(order=order, transition="sold", at=now)
        Transfer.objects.create(order=order, debit=float_, credit=credit, minor=face_minor, at=now)
        float_.balance -= face_minor
        float_.save(update_fields=["balance"])
        credit.balance += face_minor
        credit.save(update_fields=["balance"])
    return JsonResponse(shown(order), status=201)


def _repeated(names: list[str], content: str) -> JsonResponse | None:
    known = Name.objects.filter(name__in=names).select_related("order").first()
    if known is None:
        return None
    if known.content != content:
        return JsonResponse({"code": "key_reused"}, status=409)
    return JsonResponse(shown(known.order), status=200, headers={"Idempotent-Replayed": "true"})


def shown(order: Order) -> dict[str, object]:
    """The order as its partner sees it."""
    return {
        "id": order.id,
        "status": "succeeded",
        "certainty": "final",
        "msisdn": f"+{order.number}",
        "face_value": f"{order.face_minor / 100:.2f}",
        "price": f"{order.price_minor / 100:.2f}",
        "currency": order.currency,
        "operator": order.operator,
        "reference": order.reference,
        "created_at": order.created_at,
        "valid_until": order.valid_until,
    }
