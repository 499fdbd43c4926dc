"""Every call as a plan: what to send, under which name, and how to read the answer. Both clients carry out the same plans."""

import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Generic, TypeVar
from urllib.parse import quote as escaped

import msgspec

from refill_client import shapes
from refill_client.errors import Refused, Unknown

T = TypeVar("T")
JSON = "application/json"
AGAIN = frozenset({429, 500, 502, 503, 504})
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """A request. `name` is what makes it safe to send again: None for what only reads."""

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    form: str = JSON
    name: str | None = None
    key: str | None = None  # the Idempotency-Key that carries the name; None: a reference in the body does

    def headers(self, api_key: str) -> dict[str, str]:
        """What goes beside it."""
        headers = {"authorization": f"Bearer {api_key}", "accept": JSON}
        if self.body is not None:
            headers["content-type"] = self.form
        if self.key is not None:
            headers["idempotency-key"] = self.key
        return headers


class Patience:
    """How often a plan is sent, and how long between; it ends in an answer, Refused or Unknown."""

    def __init__(self, plan: Plan[T], tries: int) -> None:
        self._plan = plan
        self._left = tries
        self._tried = 0

    def silence(self, why: str) -> float:
        """Nobody answered: how long to wait before the next try, in seconds. Raises Unknown when there is none."""
        return self._pause(why, None)

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> float | None:
        """None: it is an answer. Else how long to wait before the next try. Raises Refused, or Unknown."""
        if status < 400:
            return None
        problem = _problem(status, body)
        if status not in AGAIN or (status < 500 and not self._left > 1):
            raise Refused(status, problem.code, problem.detail, retryable=problem.retryable)
        try:
            return self._pause(problem.code, headers.get("retry-after"))
        except Unknown:
            if problem.certainty == "final":  # it says that nothing was accepted: that is a no
                raise Refused(status, problem.code, problem.detail, retryable=True) from None
            raise

    def _pause(self, why: str, asked: str | None) -> float:
        self._left -= 1
        self._tried += 1
        if self._left <= 0:
            if self._plan.name is None:
                raise Refused(0, "no_answer", f"no answer ({why})", retryable=True)
            raise Unknown(self._plan.name, why)
        if asked is not None and asked.isascii() and asked.isdigit():
            return min(float(asked), LONGEST_PAUSE_S)
        # Growing, and never two clients in step (jitter).
        jitter = 0.5 + random.random() / 2  # noqa: S311 - no secret
        return min(0.2 * float(2**self._tried), LONGEST_PAUSE_S) * jitter


def _problem(status: int, body: bytes) -> shapes.Problem:
    try:
        return msgspec.json.decode(body, type=shapes.Problem)
    except msgspec.MsgspecError:
        certainty = "unknown" if status >= 500 else "final"
        return shapes.Problem(
            f"http_{status}", "the server answered without a problem that we can read", status, certainty=certainty
        )


def one_of(shape: type[T]) -> Callable[[bytes], T]:
    """Reads an answer that is one object."""
    return msgspec.json.Decoder(shape).decode


def page_of(shape: type[T], member: str) -> Callable[[bytes], shapes.Page[T]]:
    """Reads a page whose objects stand in `member`."""

    def read(body: bytes) -> shapes.Page[T]:
        told = msgspec.json.decode(body)
        return shapes.Page(msgspec.convert(told[member], list[shape], strict=False), told.get("next"))  # type: ignore[valid-type]

    return read


def new_name() -> str:
    """A name for a request that nobody named: 128 random bits."""
    return f"rc_{secrets.token_hex(16)}"


def exact(amount: object) -> Decimal:
    """An amount as it was given. Raises TypeError for a float, ValueError for what is no number."""
    if isinstance(amount, Decimal):
        return amount
    if not isinstance(amount, str | int):
        raise TypeError("an amount is a Decimal or a string: a float cannot hold 0.10")
    try:
        return Decimal(amount)
    except InvalidOperation:
        raise ValueError("an amount is a decimal number such as 50.00") from None


def _asked(values: Mapping[str, object]) -> dict[str, str]:
    told = {}
    for name, value in values.items():
        if isinstance(value, datetime | date):
            told[name] = value.isoformat()
        elif value is not None:
            told[name] = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return told


def _wish(wish: shapes.Wish) -> dict[str, str]:
    return _asked({name: getattr(wish, name) for name in wish.__struct_fields__})


def topup(wish: shapes.Wish, key: str | None) -> Plan[shapes.TopUp]:
    """POST /v1/topups"""
    if key is None and wish.reference is None:
        key = new_name()
    body = msgspec.json.encode(_wish(wish))
    name = wish.reference or key
    return Plan("POST", "/v1/topups", one_of(shapes.TopUp), body=body, name=name, key=key)


def bulk(wishes: Iterable[shapes.Wish], key: str | None) -> Plan[shapes.Bulk]:
    """POST /v1/topups/bulk"""
    key = key or new_name()
    body = msgspec.json.encode({"topups": [_wish(wish) for wish in wishes]})
    return Plan("POST", "/v1/topups/bulk", one_of(shapes.Bulk), body=body, name=key, key=key)


def get(id_: str) -> Plan[shapes.TopUp]:
    """GET /v1/topups/{id}"""
    return Plan("GET", f"/v1/topups/{escaped(id_, safe='')}", one_of(shapes.TopUp))


def topups(**filters: object) -> Plan[shapes.Page[shapes.TopUp]]:
    """GET /v1/topups"""
    return Plan("GET", "/v1/topups", page_of(shapes.TopUp, "topups"), query=_asked(filters))


def by_reference(reference: str) -> Plan[shapes.TopUp]:
    """GET /v1/topups?reference="""
    page = page_of(shapes.TopUp, "topups")

    def read(body: bytes) -> shapes.TopUp:
        told = msgspec.json.decode(body)
        return page(body).items[0] if "topups" in told else msgspec.json.decode(body, type=shapes.TopUp)

    return Plan("GET", "/v1/topups", read, query={"reference": reference})


def cancel(id_: str) -> Plan[shapes.TopUp]:
    """POST /v1/topups/{id}/cancel: the same twice is one."""
    return Plan("POST", f"/v1/topups/{escaped(id_, safe='')}/cancel", one_of(shapes.TopUp), body=b"", name=id_)


def upload(content: bytes, key: str | None) -> Plan[shapes.Upload]:
    """POST /v1/topups/csv"""
    key = key or new_name()
    return Plan("POST", "/v1/topups/csv", one_of(shapes.Upload), body=content, form="text/csv", name=key, key=key)


def progress(id_: str) -> Plan[shapes.Upload]:
    """GET /v1/topups/csv/{id}"""
    return Plan("GET", f"/v1/topups/csv/{escaped(id_, safe='')}", one_of(shapes.Upload))


def result(id_: str) -> Plan[bytes]:
    """GET /v1/topups/csv/{id}/result"""
    return Plan("GET", f"/v1/topups/csv/{escaped(id_, safe='')}/result", bytes)


def quote(asked: Mapping[str, object]) -> Plan[shapes.Quote]:
    """POST /v1/quotes: a quote that nobody uses costs nothing, so it may be asked for twice."""
    return Plan("POST", "/v1/quotes", one_of(shapes.Quote), body=msgspec.json.encode(_asked(asked)), name="a quote")


def balance() -> Plan[shapes.Balance]:
    """GET /v1/balance"""
    return Plan("GET", "/v1/balance", one_of(shapes.Balance))


def operators() -> Plan[list[shapes.Operator]]:
    """GET /v1/operators"""
    page = page_of(shapes.Operator, "operators")
    return Plan("GET", "/v1/operators", lambda body: page(body).items)


def products(**filters: object) -> Plan[shapes.Page[shapes.Product]]:
    """GET /v1/products"""
    return Plan("GET", "/v1/products", page_of(shapes.Product, "products"), query=_asked(filters))


def number(msisdn: str) -> Plan[shapes.Number]:
    """GET /v1/numbers/{msisdn}"""
    return Plan("GET", f"/v1/numbers/{escaped(msisdn, safe='')}", one_of(shapes.Number))


def transactions(**filters: object) -> Plan[shapes.Page[shapes.Transaction]]:
    """GET /v1/transactions"""
    return Plan("GET", "/v1/transactions", page_of(shapes.Transaction, "transactions"), query=_asked(filters))


def statement(**filters: object) -> Plan[shapes.Statement]:
    """GET /v1/statements"""
    return Plan("GET", "/v1/statements", one_of(shapes.Statement), query=_asked(filters))
