"""The supplier `http_json`: a generic upstream that takes recharges as JSON over HTTP, signed with a shared secret.

The wire, for whoever builds the other side (`refill simulator operator` is one):

- `POST /recharges` of `request_id, msisdn, face, currency, operator, product`; the same `request_id` is one recharge
- `GET /recharges/{request_id}`, `GET /balance?currency=CNY`
- both answer a JSON object; a recharge: `request_id, status, code, supplier_reference, msisdn, face, currency, cost`
  with status `delivered | partial | processing | refused | not_found | reversed`; a balance: `balance, currency`
- `GET /transactions?since=…&until=…&after=…` (Unix seconds) lists what left our float and came back to it: `transactions`,
  each with `kind` (recharge | reversal), `request_id, supplier_reference, cost, currency, at`, and `next`, which is `after`
  of the next page and empty on the last
- `POST /recharges/{request_id}/reversals` of `reversal_id` takes credit back, where the operator does so for us: it
  answers `request_id, reversal_id, status, code, supplier_reference, returned, currency` with status `reversed |
  processing | refused`; the same `reversal_id` is one reversal. It is believed when the recharge is `reversed` too
- `refused` is the fate of that `request_id` for ever; it is never said of one that was taken before
- a callback is a POST of `id, request_id, status` that says no more than "ask now"

A signature is `x-signature: hex(HMAC-SHA256(secret, text))` beside `x-timestamp` (Unix seconds), over lines joined by
"\\n": a request signs `method, path with query, timestamp, body`; an answer signs `HTTP status, the request's
signature, timestamp, body`, so that it belongs to this one request; a callback signs `"notice", timestamp, body`.
"""

import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

from refill.errors import BadStatement, NotAnAmount, NotVerified
from refill.money import Money, amount
from refill.operators.supplier import (
    OVERDUE,
    SPENT,
    STANDS,
    Delivery,
    Example,
    Flags,
    Recharge,
    Reversal,
    Said,
    Supplier,
    SupplierLine,
    SupplierNotice,
    TakenBack,
    names_in,
)
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, NOT_THEIRS, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "http_json"
FRESH = timedelta(minutes=5)
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 16
MAX_STATEMENT = 1 << 28
MOST_PAGES = 2000

# Codes that are a definite no. Whether a refusal is final for this number, or another try may succeed, is ours to say.
REFUSES = {
    "INVALID_NUMBER": Refused("the operator does not know such a number"),
    "NOT_OUR_SUBSCRIBER": Refused(NOT_THEIRS),
    "NUMBER_BARRED": Refused("the operator takes no credit for this number"),
    "AMOUNT_NOT_ALLOWED": Refused("the operator does not sell this amount"),
    "PRODUCT_UNAVAILABLE": Refused("the operator does not sell this product now", final=False),
    "INSUFFICIENT_FLOAT": Refused(EMPTY_FLOAT, final=False),
    "BUSY": Refused("the operator is busy and has taken nothing", final=False),
}
# Codes by which a reversal is refused.
REFUSES_REVERSAL = {
    "CREDIT_SPENT": Refused(SPENT),
    "TOO_LATE": Refused(OVERDUE),
    "NOT_DELIVERED": Refused("the operator delivered nothing that could be taken back"),
    "NOT_SUPPORTED": Refused("the operator takes nothing back"),
    "BUSY": Refused("the operator is busy and has taken nothing back", final=False),
}
# Codes that are documented as "perhaps". Every other code means it too, and alarms.
PERHAPS = {
    "SYSTEM_ERROR": "the operator does not know itself",
    "TIMEOUT": "the operator's own network has not answered",
    "DUPLICATE_REFERENCE": "the operator has this request already: ask what became of it",
}


@dataclass(frozen=True)
class HttpJson:
    """One supplier that speaks this wire. `client` is the name under which it knows us."""

    name: str
    base_url: str
    secret: bytes = field(repr=False)
    flags: Flags
    client: str = "refill"

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        order = {
            "request_id": ask.request_id,
            "msisdn": ask.msisdn,
            "face": ask.face.text(),
            "currency": ask.face.currency,
            "operator": ask.operator,
            "product": ask.product,
        }
        request = self._signed(world, "POST", "/recharges", json.dumps(order, separators=(",", ":")).encode())
        # A worker that froze wakes here; by now another may have asked in its place. Nothing may stand between this
        # line and the call. Unknown, not refused: an earlier sending of the same request may be on its way.
        if world.db_now() >= ask.send_before:
            return Unknown("It was too late to send this request.")
        try:
            return self._recharged(request, await call(world, request), ask)
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("The operator did not answer.")

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        request = self._signed(world, "GET", f"/recharges/{quote(ask.request_id, safe='')}")
        try:
            return self._recharged(request, await call(world, request), ask)
        except (NotSent, NoAnswer):
            return Unknown("The operator did not answer.")

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        request = self._signed(world, "GET", f"/balance?{urlencode({'currency': currency})}")
        try:
            said = self._verified(request, await call(world, request))
            if said.get("currency") != currency:
                return Unknown("The operator's answer is about another currency.", "WRONG_CURRENCY")
            return Done(_balance(said.get("balance"), currency))
        except (NotSent, NoAnswer):
            return Unknown("The operator did not answer.")
        except (ValueError, RecursionError, NotAnAmount) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])

    async def fetch_statement(self, world: World, since: datetime, until: datetime) -> Outcome[bytes]:
        """Every page of `/transactions`, as one document of the same form."""
        listed: list[object] = []
        after = ""
        for _ in range(MOST_PAGES):
            span = {"since": int(since.timestamp()), "until": int(until.timestamp()), "after": after}
            request = self._signed(world, "GET", f"/transactions?{urlencode(span)}")
            try:
                said = self._verified(request, await call(world, request))
            except (NotSent, NoAnswer):
                return Unknown("The operator did not answer.")
            except (ValueError, RecursionError) as error:
                return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
            page, further = said.get("transactions"), said.get("next")
            if not isinstance(page, list) or not isinstance(further, str):
                return Unknown("The operator's list of transactions cannot be read.")
            listed, after = [*listed, *page], further
            if not after:
                return Done(json.dumps({"transactions": listed}, separators=(",", ":")).encode())
        return Unknown("The operator's list of transactions does not end.")

    def read_statement(self, file: BinaryIO) -> Iterator[SupplierLine]:
        """A document with `transactions`. Raises BadStatement."""
        try:
            rows = _object(file.read(MAX_STATEMENT))["transactions"]
            yield from [_statement_line(row) for row in rows]
        except (ValueError, RecursionError, KeyError, TypeError, NotAnAmount) as error:
            raise BadStatement("This is no list of transactions, or one of them cannot be read.") from error

    async def reverse(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        target = f"/recharges/{quote(ask.recharge.request_id, safe='')}/reversals"
        body = json.dumps({"reversal_id": ask.request_id}, separators=(",", ":")).encode()
        request = self._signed(world, "POST", target, body)
        try:
            said = self._verified(request, await call(world, request))
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("The operator did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        if (said.get("request_id"), said.get("reversal_id")) != (ask.recharge.request_id, ask.request_id):
            return Unknown("The operator's answer is about another reversal.", "OTHER_REQUEST")
        status, code = said.get("status"), str(said.get("code") or "")[:64]
        match status:
            case "reversed":
                return _taken_back(said)
            case "processing":
                return Unknown("The operator is working on it.")
            case "refused" if code in REFUSES_REVERSAL:
                return Refused(REFUSES_REVERSAL[code].reason, code, REFUSES_REVERSAL[code].final)
        return Unknown("The operator says something that is not documented.", code or str(status)[:64])

    async def inquire_reversal(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        request = self._signed(world, "GET", f"/recharges/{quote(ask.recharge.request_id, safe='')}")
        try:
            said = self._verified(request, await call(world, request))
        except (NotSent, NoAnswer):
            return Unknown("The operator did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        if said.get("request_id") != ask.recharge.request_id or said.get("msisdn") != ask.recharge.msisdn:
            return Unknown("The operator's answer is about another request.", "OTHER_REQUEST")
        match said.get("status"):
            case "reversed":
                return _taken_back(said)
            case "delivered" | "partial":
                return Refused(STANDS, final=False)
        return Unknown("The operator does not say whether the credit is still there.")

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        stamp = headers.get("x-timestamp", "")
        sent_at = _time(stamp)
        if len(body) > MAX_NOTICE or sent_at is None:
            raise NotVerified("The notice is too long or has no time.")
        if not _same(headers.get("x-signature", ""), signature(self.secret, "notice", stamp, body=body)):
            raise NotVerified("The signature of the notice does not hold.")
        try:
            said = _object(body)
        except (ValueError, RecursionError) as error:
            raise NotVerified("The notice is not a JSON object.") from error
        id_, request_id = said.get("id"), said.get("request_id")
        if not isinstance(id_, str) or not isinstance(request_id, str) or not 0 < len(id_) <= 128 or not request_id:
            raise NotVerified("The notice names no id or request.")
        return SupplierNotice(id_, request_id, received_at is None or abs(received_at - sent_at) <= FRESH)

    def _recharged(self, request: Request, response: Response, ask: Recharge) -> Outcome[Delivery]:
        """What an answer means for `ask`. Only the code table says no, and only an answer about `ask` itself."""
        try:
            said = self._verified(request, response)
        except (ValueError, RecursionError) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        status, code = said.get("status"), str(said.get("code") or "")[:64]
        if said.get("request_id") != ask.request_id:
            return Unknown("The operator's answer is about another request.", "OTHER_REQUEST")
        match status:
            case "delivered" | "partial":
                return _delivered(said, ask, partial=status == "partial")
            case "refused" if code in REFUSES:
                return Refused(REFUSES[code].reason, code, REFUSES[code].final)
            case "not_found":
                return Unknown(NOT_FOUND)
            case "processing":
                return Unknown("The operator is working on it.")
            case "reversed":
                return Unknown("The operator says that it took the credit back.", "REVERSED")
        if code in PERHAPS:
            return Unknown(PERHAPS[code])
        return Unknown("The operator says something that is not documented.", code or str(status)[:64])

    def _signed(self, world: World, method: str, target: str, body: bytes = b"") -> Request:
        url, stamp = self.base_url.rstrip("/") + target, str(int(world.now().timestamp()))
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {
            "accept": "application/json",
            "x-client": self.client,
            "x-timestamp": stamp,
            "x-signature": signature(self.secret, method, path, stamp, body=body),
        }
        if body:
            headers["content-type"] = "application/json"
        return Request(method, url, headers, body, self.flags.timeout_s)

    def _verified(self, request: Request, response: Response) -> dict[str, Any]:
        """The object in an answer that is signed, and signed for this very request. Raises ValueError."""
        if len(response.body) > MAX_ANSWER:
            raise ValueError("it is too long")
        stamp = response.headers.get("x-timestamp", "")
        expected = signature(
            self.secret, str(response.status), request.headers["x-signature"], stamp, body=response.body
        )
        if not _same(response.headers.get("x-signature", ""), expected):
            raise ValueError("its signature does not hold")
        return _object(response.body)


def signature(secret: bytes, *lines: str, body: bytes = b"") -> str:
    """HMAC-SHA256 over `lines` and `body`, joined by newlines, in hexadecimal."""
    return hmac.new(
        secret, b"\n".join([line.encode("utf-8", "replace") for line in lines] + [body]), sha256
    ).hexdigest()


SETTINGS = {
    "http_json_suppliers": PortSetting(
        "text", "names of suppliers that speak our generic protocol, such as `northtel`"
    ),
    "http_json_*": PortSetting("text", "what each of them needs, such as `REFILL_HTTP_JSON_NORTHTEL_URL`"),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """One supplier for each name in `http_json_suppliers`, e.g. "northtel".

    Needs `http_json_northtel_url`, `…_secret`, and its flags, which have no default because money hangs on them:
    `…_dedups` (yes | no) and `…_not_found_final_s` (seconds, or never).
    Optional: `…_can_reverse`, `…_timeout_s`, `…_client`.
    """
    return [_one(Said("http_json", name, settings)) for name in names_in(settings, "http_json")]


def _one(said: Said) -> Supplier:
    flags = said.flags(can_reverse=said.yes("can_reverse", "no"))
    return HttpJson(said.name, said.text("url"), said.text("secret").encode(), flags, said.text("client", "refill"))


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """A supplier with a throw-away secret, and what it answers."""
    flags = Flags(dedups_our_reference=True, not_found_is_final_after=timedelta(minutes=10), can_reverse=False)
    supplier = HttpJson("northtel", "https://northtel.example/api", b"a secret for examples only", flags)
    late = datetime(2100, 1, 1, tzinfo=UTC)
    ask = Recharge("rq_1", "8613800138000", Money(5000, "CNY"), "northtel", "airtime", late)
    good = {
        "request_id": "rq_1",
        "status": "delivered",
        "supplier_reference": "N-77",
        "msisdn": ask.msisdn,
        "face": "50.00",
        "currency": "CNY",
        "cost": "49.25",
    }

    def example(says: str, expect: str, reason: str = "", *, http: int = 200, **other: object) -> Example:
        body = json.dumps({**good, **other}).encode()

        def answers(request: Request) -> Response:
            signed = signature(supplier.secret, str(http), request.headers["x-signature"], "1795312800", body=body)
            return Response(http, {"x-timestamp": "1795312800", "x-signature": signed}, body)

        return Example(says, ask, answers, expect, reason)

    return supplier, [
        example("delivered", "done"),
        example("half of it delivered", "done", status="partial", face="25.00"),
        example("delivered, but to another number", "unknown", msisdn="8613800138001"),
        example("delivered, but another amount", "unknown", face="30.00"),
        example("the answer to another request", "unknown", request_id="RQ_1"),
        example("our float is used up", "refused", EMPTY_FLOAT, status="refused", code="INSUFFICIENT_FLOAT"),
        example("another operator's number", "refused", NOT_THEIRS, status="refused", code="NOT_OUR_SUBSCRIBER"),
        example("a code that nobody documented", "unknown", status="refused", code="E-4711"),
        example("they have our reference already", "unknown", status="refused", code="DUPLICATE_REFERENCE"),
        example("they never heard of it", "unknown", NOT_FOUND, status="not_found"),
    ]


def _delivered(said: Mapping[str, Any], ask: Recharge, *, partial: bool) -> Outcome[Delivery]:
    reference = said.get("supplier_reference")
    if said.get("msisdn") != ask.msisdn:
        return Unknown("The operator names another number.", "WRONG_NUMBER")
    try:
        face = amount(said.get("face"), said.get("currency"))
        cost = None if said.get("cost") is None else amount(said["cost"], said.get("currency"))
        fits = face < ask.face if partial else face == ask.face
    except NotAnAmount:
        return Unknown("The operator names an amount that cannot be.", "WRONG_AMOUNT")
    if not fits:
        return Unknown("The operator names another amount.", "WRONG_AMOUNT")
    if not isinstance(reference, str) or not 0 < len(reference) <= 128:
        return Unknown("The operator names no reference of its own.", "NO_REFERENCE")
    return Done(Delivery(reference, ask.msisdn, face, cost))


def _taken_back(said: Mapping[str, Any]) -> Outcome[TakenBack]:
    reference = said.get("supplier_reference")
    try:
        returned = None if said.get("returned") is None else amount(said["returned"], said.get("currency"))
    except NotAnAmount:
        return Unknown("The operator names an amount that cannot be.", "WRONG_AMOUNT")
    if not isinstance(reference, str) or not 0 < len(reference) <= 128:
        return Unknown("The operator names no reference of its own.", "NO_REFERENCE")
    return Done(TakenBack(reference, returned))


def _statement_line(row: Mapping[str, Any]) -> SupplierLine:
    """Raises ValueError, KeyError, TypeError, NotAnAmount."""
    ids = row["request_id"], row["supplier_reference"]
    if row["kind"] not in ("recharge", "reversal") or not all(
        isinstance(id_, str) and 0 < len(id_) <= 128 for id_ in ids
    ):
        raise ValueError("it is no transaction")
    cost, at = amount(row["cost"], row["currency"]), datetime.fromisoformat(row["at"])
    if at.tzinfo is None:
        raise ValueError("its time has no zone")
    return SupplierLine(row["kind"], *ids, cost.minor, cost.currency, at)


def _balance(text: object, currency: str) -> Money:
    """A float may stand at zero, or below it by a credit limit."""
    if isinstance(text, str) and re.fullmatch(r"-?0(\.0{1,4})?", text):
        return Money(0, currency)
    if isinstance(text, str) and text.startswith("-"):
        return Money(-amount(text[1:], currency).minor, currency)
    return amount(text, currency)


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object that names nothing twice. Raises ValueError, or RecursionError for a very deep one."""
    said = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it names a member twice")
    return members


def _same(given: str, expected: str) -> bool:
    # As bytes: compare_digest raises on text beyond ASCII, which anybody can put into a header.
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _time(stamp: str) -> datetime | None:
    return datetime.fromtimestamp(int(stamp), UTC) if re.fullmatch(r"[0-9]{9,11}", stamp) else None
