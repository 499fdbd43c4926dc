"""The supplier `tmf654`: an operator that speaks the TM Forum Prepay Balance Management API (TMF654 v4.0.0).

The wire, below the operator's own address, which ends in `/tmf-api/prepayBalanceManagement/v4`:

- `POST /topupBalance` orders credit. The standard has no field for the client's own reference, so `description` carries
  our request id, and the header `Idempotency-Key` too: whether the operator heeds it, only the operator can say.
- `GET /topupBalance?description=<request id>` asks what became of it (TMF630: any first-level attribute is a filter).
- `GET /bucket/{id}` tells what is left of the bucket in which the operator keeps our float.
- `POST /callbacks/suppliers/<name>` is a `topupBalance…Event`. The standard signs nothing, so we want a bearer token that
  was agreed with the operator; without one no notice is believed. A notice says no more than "ask now".

A top-up's `status` (ActionStatusType) is created, completed, failed or cancelled. `completed` is delivered, `failed` is a
definite no. `created` is not known yet. `cancelled` is not known either: it does not tell whether credit had arrived.
An `Error.code` is the operator's own (definitions/Error: "Application relevant detail, defined in the API or a common
list"), so what each one means is a setting; one that no setting explains means "perhaps", whatever the HTTP status.

Nothing takes a completed top-up back: `DELETE /topupBalance/{id}` removes the record, and the standard does not say that
the credit goes with it. So `can_reverse` is no.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec

from refill.errors import BadInput, NotAnAmount, NotVerified
from refill.money import EXPONENT, Money
from refill.operators.supplier import (
    Delivery,
    Example,
    Flags,
    Recharge,
    Said,
    Supplier,
    SupplierNotice,
    exactly,
    json_value,
    names_in,
    nearly,
)
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, NOT_THEIRS, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "tmf654"
FRESH = timedelta(minutes=5)
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 16
LISTED = 10  # more top-ups than one under our reference would be a fault of theirs

# What an operator's own code can be set to mean: a definite no (`final` says whether another try may succeed), or a
# documented "perhaps".
MEANINGS: dict[str, Refused | Unknown] = {
    "not_theirs": Refused(NOT_THEIRS),
    "number": Refused("the operator takes no credit for this number"),
    "amount": Refused("the operator does not sell this amount"),
    "limit": Refused("the balance would rise above the operator's limit"),
    "product": Refused("the operator does not sell this product now", final=False),
    "empty_float": Refused(EMPTY_FLOAT, final=False),
    "busy": Refused("the operator is busy and has taken nothing", final=False),
    "duplicate": Unknown("the operator has this request already: ask what became of it"),
    "perhaps": Unknown("the operator does not know itself"),
}
_EVENTS = {"topupBalanceCreateEvent", "topupBalanceCancelEvent", "topupBalanceFailureEvent"}
_numbers = msgspec.json.Encoder(decimal_format="number")  # Quantity.amount is a JSON number; a float would round it


@dataclass(frozen=True)
class Tmf654:
    """One operator that speaks this wire. `account` is our partyAccount there, `float_bucket` where our money lies."""

    name: str
    base_url: str
    token: str = field(repr=False)
    account: str
    flags: Flags
    float_bucket: str = ""
    notice_token: str = field(default="", repr=False)
    codes: Mapping[str, Refused | Unknown] = field(default_factory=dict)  # what the operator's own codes mean

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        order = {
            "@type": "TopupBalance",
            "description": ask.request_id,
            "amount": {"amount": _quantity(ask.face), "units": ask.face.currency},
            "usageType": "monetary",
            "bucket": {"id": ask.msisdn},
            "logicalResource": [{"id": ask.msisdn, "@referredType": "MSISDN"}],
            "partyAccount": {"id": self.account},
            "product": [{"id": ask.product}],
        }
        request = self._request("POST", "/topupBalance", _numbers.encode(order), {"idempotency-key": ask.request_id})
        # A worker that froze wakes here; by now another may have asked in its place. Nothing may stand between this
        # line and the call. Unknown, not refused: an earlier sending of the same request may be on its way.
        if world.db_now() >= ask.send_before:
            return Unknown("It was too late to send this request.")
        try:
            said = _read(await call(world, request))
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("The operator did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        return self._topped_up(said, ask) if isinstance(said, dict) else Unknown("The answer is no top-up.")

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        query = urlencode({"description": ask.request_id, "limit": LISTED})
        try:
            response = await call(world, self._request("GET", f"/topupBalance?{query}"))
            said = _read(response)
        except (NotSent, NoAnswer):
            return Unknown("The operator did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        # Only the whole list is a list: 206 is a part of it (TMF630 §Pagination), and an Error speaks of this question.
        if response.status != 200 or not isinstance(said, list):
            return Unknown("The operator answers no list of top-ups.")
        ours = [each for each in said if isinstance(each, dict) and each.get("description") == ask.request_id]
        match ours:
            case []:
                return Unknown(NOT_FOUND)
            case [one]:
                return self._topped_up(one, ask)
        return Unknown("The operator has more than one top-up under our reference.", "TWICE")

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        if not self.float_bucket:
            return Unknown("No bucket is set in which this operator keeps our float.")
        try:
            said = _read(await call(world, self._request("GET", f"/bucket/{quote(self.float_bucket, safe='')}")))
            left = (
                said.get("remainingValue") if isinstance(said, dict) and said.get("id") == self.float_bucket else None
            )
            if not isinstance(left, dict):
                return Unknown("The operator's answer is not our bucket.")
            if left.get("units") != currency:
                return Unknown("The operator's answer is about another currency.", "WRONG_CURRENCY")
            return Done(nearly(left.get("amount"), currency))
        except (NotSent, NoAnswer):
            return Unknown("The operator did not answer.")
        except (ValueError, RecursionError, NotAnAmount) as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        if len(body) > MAX_NOTICE or not self.notice_token:
            raise NotVerified("The notice is too long, or no token was agreed by which to know it.")
        # As bytes: compare_digest raises on text beyond ASCII, which anybody can put into a header.
        shown = headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(shown, f"Bearer {self.notice_token}".encode()):
            raise NotVerified("The notice does not bring the token that was agreed.")
        try:
            said = json_value(body)
            top_up = said["event"]["topupBalance"]
            id_, kind, request_id = said["eventId"], said["eventType"], top_up["description"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise NotVerified("The notice is no event of a top-up.") from error
        if not all(isinstance(text, str) and 0 < len(text) <= 128 for text in (id_, kind, request_id)):
            raise NotVerified("The notice names no id or request.")
        if kind[:1].lower() + kind[1:] not in _EVENTS:
            raise NotVerified("The notice is about something else.")
        at = _time(said.get("eventTime") or said.get("timeOcurred"))  # the standard spells it so
        return SupplierNotice(
            id_, request_id, received_at is None or (at is not None and abs(received_at - at) <= FRESH)
        )

    def _topped_up(self, said: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
        """What a TopupBalance, or an Error in its place, means for `ask`."""
        if "status" not in said or "description" not in said:
            return self._error(said)
        if said["description"] != ask.request_id:
            return Unknown("The operator's answer is about another request.", "OTHER_REQUEST")
        status, reason = said["status"], str(said.get("reason") or "")[:64]
        match status:
            case "completed":
                return _delivered(said, ask)
            case "failed":
                # The state is the definite word; the code in `reason` only says more.
                known = self.codes.get(reason)
                no = known if isinstance(known, Refused) else Refused("the top-up failed there", final=False)
                return Refused(no.reason, reason or "failed", no.final)
            case "created":
                return Unknown("The operator is working on it.")
            case "cancelled":
                return Unknown("The operator says that it cancelled the top-up.", "CANCELLED")
        return Unknown("The operator says something that is not documented.", str(status)[:64])

    def _error(self, said: Mapping[str, Any]) -> Outcome[Delivery]:
        code = str(said.get("code") or "")[:64]
        match self.codes.get(code):
            case Refused(reason, _, final):
                return Refused(reason, code, final)
            case Unknown() as perhaps:
                return perhaps
        return Unknown("The operator says something that is not documented.", code or "NO_CODE")

    def _request(self, method: str, target: str, body: bytes = b"", more: Mapping[str, str] | None = None) -> Request:
        headers = {"accept": "application/json", "authorization": f"Bearer {self.token}", **(more or {})}
        if body:
            headers["content-type"] = "application/json"
        return Request(method, self.base_url.rstrip("/") + target, headers, body, self.flags.timeout_s)


SETTINGS = {
    "tmf654_suppliers": PortSetting("text", "names of operators that speak the TM Forum API TMF654"),
    "tmf654_*": PortSetting("text", "what each of them needs, such as `REFILL_TMF654_SOUTHTEL_URL`"),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """One supplier for each name in `tmf654_suppliers`, e.g. "southtel".

    Needs `tmf654_southtel_url`, `…_token`, `…_account`, and its flags: `…_dedups` (yes where the operator promises to
    heed Idempotency-Key) and `…_not_found_final_s` (seconds, or never; the standard promises nothing).
    Optional: `…_float_bucket`, `…_notice_token`, `…_plain_http`, `…_timeout_s`, and `…_codes`, the operator's codes and what they
    mean: "4001=number 4002=not_theirs 4020=empty_float 4090=duplicate" (`MEANINGS`).
    """
    return [_one(Said("tmf654", name, settings)) for name in names_in(settings, "tmf654")]


def _one(said: Said) -> Supplier:
    return Tmf654(
        name=said.name,
        base_url=said.address(),
        token=said.text("token"),
        account=said.text("account"),
        flags=said.flags(can_reverse=False),
        float_bucket=said.text("float_bucket", ""),
        notice_token=said.text("notice_token", ""),
        codes=dict(_meaning(said, pair) for pair in said.text("codes", "").replace(",", " ").split()),
    )


def _meaning(said: Said, pair: str) -> tuple[str, Refused | Unknown]:
    code, _, meaning = pair.rpartition("=")
    if not code or meaning not in MEANINGS:
        raise BadInput(
            f"The setting tmf654_{said.name}_codes holds {pair[:40]!r}; write code=meaning with one of {', '.join(MEANINGS)}."
        )
    return code, MEANINGS[meaning]


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """An operator with a throw-away token, and what it answers."""
    supplier = Tmf654(
        name="southtel",
        base_url="https://southtel.example/tmf-api/prepayBalanceManagement/v4",
        token="for examples only",  # noqa: S106
        account="refill",
        flags=Flags(dedups_our_reference=True, not_found_is_final_after=None, can_reverse=False),
        float_bucket="float-1",
        notice_token="for examples only, too",  # noqa: S106
        codes={"4002": MEANINGS["not_theirs"], "4020": MEANINGS["empty_float"]},
    )
    ask = Recharge("rq_1", "8613800138000", Money(5000, "CNY"), "southtel", "airtime", datetime(2100, 1, 1, tzinfo=UTC))
    good = {
        "id": "T-77",
        "href": "/topupBalance/T-77",
        "status": "completed",
        "amount": {"amount": 50, "units": "CNY"},
        "bucket": {"id": ask.msisdn},
        "logicalResource": [{"id": ask.msisdn}],
    }

    def example(says: str, expect: str, why: str = "", **other: object) -> Example:
        def answers(request: Request) -> Response:
            top_up = {**good, "description": _reference_in(request), **other}
            return Response(200, {}, json.dumps([top_up] if request.method == "GET" else top_up).encode())

        return Example(says, ask, answers, expect, why)

    return supplier, [
        example("completed", "done"),
        example("taken, not done yet", "unknown", status="created"),
        example("completed, but for another number", "unknown", logicalResource=[{"id": "8613800138001"}]),
        example("completed, but another amount", "unknown", amount={"amount": 30, "units": "CNY"}),
        example("completed, in another currency", "unknown", amount={"amount": 50, "units": "USD"}),
        example("the answer to another request", "unknown", description="RQ_1"),
        example("failed, without saying why", "refused", status="failed"),
        example("failed: our float is used up", "refused", EMPTY_FLOAT, status="failed", reason="4020"),
        example("failed: another operator's number", "refused", NOT_THEIRS, status="failed", reason="4002"),
        example("cancelled", "unknown", status="cancelled"),
        example("a status that is not in the standard", "unknown", status="done"),
    ]


def _reference_in(request: Request) -> str:
    """Our reference in a request of ours, as an operator would read it; "" when there is none."""
    if request.method == "GET":
        return parse_qs(urlsplit(request.url).query).get("description", [""])[0]
    return str(json.loads(request.body)["description"]) if request.body else ""


def _delivered(said: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
    """A completed top-up, if it is ours in every part. The standard has no partial one: another amount is a doubt."""
    quantity, reference = said.get("amount"), said.get("id")
    if not _names(said, ask.msisdn):
        return Unknown("The operator names another number.", "WRONG_NUMBER")
    try:
        fits = isinstance(quantity, dict) and exactly(quantity.get("amount"), quantity.get("units")) == ask.face
    except NotAnAmount:
        fits = False
    if not fits:
        return Unknown("The operator names another amount.", "WRONG_AMOUNT")
    if not isinstance(reference, str) or not 0 < len(reference) <= 128:
        return Unknown("The operator names no reference of its own.", "NO_REFERENCE")
    return Done(Delivery(reference, ask.msisdn, ask.face))


def _names(said: Mapping[str, Any], msisdn: str) -> bool:
    """Is it about this number? The logical resource says so; where an operator leaves it out, the bucket's id must."""
    refs = said.get("logicalResource") or [said.get("bucket")]
    ids = [ref.get("id") if isinstance(ref, dict) else None for ref in (refs if isinstance(refs, list) else [refs])]
    return all(isinstance(id_, str) and id_.removeprefix("+") == msisdn for id_ in ids)


def _quantity(face: Money) -> Decimal | int:
    """An integer where the amount is whole, because not every operator takes anything else; never a float."""
    whole, part = divmod(face.minor, 10 ** EXPONENT[face.currency])
    return Decimal(face.text()) if part else whole


def _read(response: Response) -> Any:
    """What an answer says, its numbers in their own digits. Raises ValueError, or RecursionError for a very deep one."""
    if len(response.body) > MAX_ANSWER:
        raise ValueError("it is too long")
    return json_value(response.body)


def _time(text: object) -> datetime | None:
    """An RFC 3339 time with its zone, or None."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) and len(text) <= 40 else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
