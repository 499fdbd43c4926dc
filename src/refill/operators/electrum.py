"""The supplier `electrum`: a provider that speaks the Electrum Airtime Service Interface v5 (its Developer Guide: "Guide").

The wire, below the provider's address, which ends in `/airtime/v5`; HTTP Basic (Guide, Protocol Basics §Security):

- `POST /purchases` is a request. A purchase that is answered 200, 201 or 202 has succeeded (§Failures): the credit is
  delivered, whatever becomes of the confirmation.
- `POST /purchases/confirmations` is an advice, "repeated until a final HTTP status code is received (i.e. not 500 or
  504)" (purchaseConfirmation); the client "need not wait" for its answer, but keeps it until it comes (Transaction Flows
  §Request vs Advice Messages). Our attempt is what is kept: a purchase whose confirmation nobody acknowledged stays
  unknown, so that the inquiry confirms once more; then it is delivered, as it was from the start.
- `GET /purchases/status?originalMsgId=…` answers what the purchase would have been answered (§Purchase Status).
- `POST /purchases/reversals` must follow a purchase of unknown outcome where the provider supports it
  (purchaseReversal). Acknowledged, it is a definite no. 404 counts as success there (§Reversal Advices), but a purchase
  that was never seen may still arrive; so for us it is only "never heard of it".

500, 504 and silence are unknown whatever the body says, everything else but a success has failed (§Failures); we want the
`errorType` besides, and it must be in a table here. "Once confirmed it cannot be cancelled or reversed" (§Voucher
Confirmation), and we confirm at once: so `can_reverse` is no. Of a repeated purchase nothing is promised, as it is of
confirmations and reversals; DUPLICATE_RECORD is an error. So `dedups_our_reference` is no.

The interface tells no balance of ours and sends no notices.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from refill.errors import BadInput, NotVerified
from refill.money import MAX_MINOR, Money
from refill.operators.supplier import (
    Delivery,
    Example,
    Flags,
    Number,
    Recharge,
    Said,
    Supplier,
    SupplierNotice,
    json_value,
    names_in,
)
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "electrum"
MAX_ANSWER = 1 << 20
SUCCEEDED = {200, 201, 202}
OPEN = {500, 504}  # unknown, whatever the body says

# ErrorDetail.errorType: a definite no about a purchase, also when a question for its status is answered so.
REFUSES = {
    "DECLINED_BY_MNO": Refused("the operator declined"),
    "DO_NOT_HONOR": Refused("the provider declined"),
    "INVALID_MSISDN": Refused("the operator does not know such a number"),
    "INVALID_AMOUNT": Refused("the operator does not sell this amount"),
    "INVALID_PRODUCT": Refused("the operator does not sell this product", final=False),
    "LIMIT_EXCEEDED": Refused("the operator's limit for this number is reached", final=False),
    "OUT_OF_STOCK": Refused("the operator does not sell this product now", final=False),
    "INSUFFICIENT_FUNDS": Refused(EMPTY_FLOAT, final=False),  # we send no tender of a customer: the funds are ours
}
# A definite no only in answer to the purchase itself: elsewhere it may speak of the question.
REFUSES_AT_ONCE = {
    "FORMAT_ERROR": Refused("the provider cannot read our request", final=False),
    "FUNCTION_NOT_SUPPORTED": Refused("the provider does not sell this so", final=False),
    "TRANSACTION_NOT_SUPPORTED": Refused("the provider does not sell this so", final=False),
    "INVALID_MERCHANT": Refused("the provider does not know our shop", final=False),
    "ROUTING_ERROR": Refused("the provider has no way to this operator", final=False),
    "UPSTREAM_UNAVAILABLE": Refused("the operator cannot be reached and has taken nothing", final=False),
}
# Documented as "perhaps", or as no answer about the purchase. Every other type means it too, and alarms.
PERHAPS = {
    "OUTCOME_UNKNOWN": "the provider does not know itself",
    "GENERAL_ERROR": "the provider does not say what happened",
    "SYSTEM_MALFUNCTION": "the provider does not know itself",
    "DUPLICATE_RECORD": "the provider has this request already: ask what became of it",
    "ACCOUNT_ALREADY_SETTLED": "the purchase is confirmed already",
    **dict.fromkeys(REFUSES_AT_ONCE, "the provider did not answer the question"),
}

# ISO 4217, table A.1: numeric codes of the currencies in refill.money.
NUMERIC = dict(
    pair.split("=")
    for pair in (
        "AED=784 AUD=036 BDT=050 BRL=986 CAD=124 CHF=756 CNY=156 CZK=203 DKK=208 EGP=818 EUR=978 GBP=826 GHS=936 HKD=344"
        " IDR=360 ILS=376 INR=356 KES=404 LKR=144 MAD=504 MOP=446 MXN=484 MYR=458 NGN=566 NOK=578 NPR=524 NZD=554 PEN=604"
        " PHP=608 PKR=586 PLN=985 QAR=634 RUB=643 SAR=682 SEK=752 SGD=702 THB=764 TRY=949 TWD=901 TZS=834 UAH=980 USD=840"
        " UZS=860 ZAR=710 ZMW=967 BHD=048 IQD=368 JOD=400 KWD=414 LYD=434 OMR=512 TND=788 CLP=152 GNF=324 ISK=352 JPY=392"
        " KMF=174 KRW=410 PYG=600 RWF=646 UGX=800 VND=704 XAF=950 XOF=952 XPF=953"
    ).split()
)


@dataclass(frozen=True)
class Electrum:
    """One provider that speaks this wire. `institution` is our number in it; `products` are theirs by ours."""

    name: str
    base_url: str
    institution: str
    password: str = field(repr=False)
    flags: Flags
    originator: Mapping[str, Any]  # the shop, as the wire wants it
    receiver: str = ""  # their institution number
    products: Mapping[str, str] = field(default_factory=dict)
    reverses: bool = False  # does the provider support reversals?

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        request = self._request("POST", "/purchases", self._purchase(world, ask))
        # A worker that froze wakes here; by now another may have asked in its place. Nothing may stand between this
        # line and the call. Unknown, not refused: an earlier sending of the same request may be on its way.
        if world.db_now() >= ask.send_before:
            return Unknown("It was too late to send this request.")
        try:
            response = await call(world, request)
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("The provider did not answer.")
        outcome, identifiers = self._purchased(response, ask, REFUSES | REFUSES_AT_ONCE)
        if isinstance(outcome, Done) and not await self._confirmed(world, ask, identifiers):
            return Unknown("The credit is delivered, but nobody acknowledged our confirmation.")
        return outcome

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        query = urlencode({"originalMsgId": message_id(ask.request_id, "purchase")})
        try:
            response = await call(world, self._request("GET", f"/purchases/status?{query}"))
        except (NotSent, NoAnswer):
            return Unknown("The provider did not answer.")
        outcome, identifiers = self._purchased(response, ask, REFUSES)
        if isinstance(outcome, Done):
            await self._confirmed(world, ask, identifiers)
        if isinstance(outcome, Unknown) and self.reverses:
            return await self._reversed(world, ask, outcome)
        return outcome

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        return Unknown("The Airtime Service Interface has no question for our float.")

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        raise NotVerified("The Airtime Service Interface sends no notices.")

    async def _confirmed(self, world: World, ask: Recharge, identifiers: object) -> bool:
        """Says that the customer has paid; True when the answer is final. May be said again and again."""
        advice = self._advice(world, ask, "confirmation", identifiers)
        try:
            answer = await call(world, self._request("POST", "/purchases/confirmations", advice))
        except (NotSent, NoAnswer):
            return False
        return answer.status not in OPEN

    async def _reversed(self, world: World, ask: Recharge, doubt: Unknown) -> Outcome[Delivery]:
        """Takes a purchase of unknown outcome back; what stays in doubt is `doubt`. May be said again and again."""
        advice = self._advice(world, ask, "reversal", self._identifiers(ask)) | {"reversalReason": "RESPONSE_NOT_FINAL"}
        try:
            response = await call(world, self._request("POST", "/purchases/reversals", advice))
            said = _read(response)
        except (NotSent, NoAnswer, ValueError, RecursionError):
            return doubt
        if response.status in SUCCEEDED and said.get("requestId") == advice["requestId"]:
            return Refused("the provider took the purchase back", "REVERSED", final=False)
        if response.status == 404 and said.get("errorType") == "UNABLE_TO_LOCATE_RECORD":
            return Unknown(NOT_FOUND)
        return doubt

    def _purchased(
        self, response: Response, ask: Recharge, refuses: Mapping[str, Refused]
    ) -> tuple[Outcome[Delivery], object]:
        """What a PurchaseResponse, or an ErrorDetail in its place, means for `ask`, and the identifiers it brings."""
        try:
            said = _read(response)
        except (ValueError, RecursionError) as error:
            return Unknown(f"The provider's answer cannot be believed: {error}"[:200]), None
        if response.status in SUCCEEDED:
            identifiers = said.get("thirdPartyIdentifiers")
            return self._delivered(said, ask, identifiers), identifiers
        kind = str(said.get("errorType") or "")[:64]
        if response.status not in OPEN and kind in refuses:
            return Refused(refuses[kind].reason, kind, refuses[kind].final), None
        if response.status == 404 and kind == "UNABLE_TO_LOCATE_RECORD":
            return Unknown(NOT_FOUND), None
        if kind in PERHAPS or kind in refuses:
            return Unknown(PERHAPS.get(kind, "the provider does not know itself")), None
        return Unknown("The provider says something that is not documented.", kind or f"HTTP_{response.status}"), None

    def _delivered(self, said: Mapping[str, Any], ask: Recharge, identifiers: object) -> Outcome[Delivery]:
        """A purchase that succeeded, if it is ours in every part; less approved than asked is a partial delivery."""
        named = {
            str(each["institutionId"]): str(each["transactionIdentifier"])
            for each in (identifiers if isinstance(identifiers, list) else [])
            if isinstance(each, dict) and {"institutionId", "transactionIdentifier"} <= set(each)
        }
        # "Once an identifier has been set by an entity, all others must send that identifier" (ThirdPartyIdentifier).
        if named.pop(self.institution, None) != ask.request_id:
            return Unknown("The provider's answer is about another request.", "OTHER_REQUEST")
        if said.get("voucher") is not None:
            return Unknown("The provider sold a voucher instead of credit.", "VOUCHER")
        if str(_in(said, "msisdn", "msisdn")).removeprefix("+") != ask.msisdn:
            return Unknown("The provider names another number.", "WRONG_NUMBER")
        if _in(said, "product", "productId") != self._product(ask):
            return Unknown("The provider names another product.", "WRONG_PRODUCT")
        face = _ledger_amount(_in(said, "amounts", "approvedAmount"), ask.face.currency)
        if face is None or not face <= ask.face:
            return Unknown("The provider names another amount.", "WRONG_AMOUNT")
        reference = named.get(self.receiver) or next(iter(named.values()), "") or str(said.get("id") or "")
        if not 0 < len(reference) <= 128:
            return Unknown("The provider names no reference of its own.", "NO_REFERENCE")
        return Done(Delivery(reference, ask.msisdn, face))

    def _purchase(self, world: World, ask: Recharge) -> dict[str, Any]:
        """A PurchaseRequest."""
        message = {
            "id": message_id(ask.request_id, "purchase"),
            "time": _now(world),
            "originator": self.originator,
            "client": {"id": self.institution, "name": self.originator["institution"]["name"]},
            "thirdPartyIdentifiers": self._identifiers(ask),
            "product": {"productId": self._product(ask)},
            "recipientMsisdn": {"msisdn": ask.msisdn},
            "amounts": {"requestAmount": {"amount": ask.face.minor, "currency": NUMERIC[ask.face.currency]}},
        }
        return message | ({"receiver": {"id": self.receiver, "name": self.name}} if self.receiver else {})

    def _advice(self, world: World, ask: Recharge, kind: str, identifiers: object) -> dict[str, Any]:
        """A BasicAdvice about our purchase, with the identifiers as the other side gave them."""
        return {
            "id": message_id(ask.request_id, kind),
            "requestId": message_id(ask.request_id, "purchase"),
            "time": _now(world),
            "thirdPartyIdentifiers": identifiers,
        }

    def _identifiers(self, ask: Recharge) -> list[dict[str, str]]:
        return [{"institutionId": self.institution, "transactionIdentifier": ask.request_id}]

    def _product(self, ask: Recharge) -> str:
        return self.products.get(f"{ask.operator}/{ask.product}") or self.products.get(ask.product) or ask.product

    def _request(self, method: str, target: str, message: Mapping[str, Any] | None = None) -> Request:
        who = b64encode(f"{self.institution}:{self.password}".encode()).decode()
        headers = {"accept": "application/json", "authorization": f"Basic {who}"}
        if message is None:
            return Request(method, self.base_url.rstrip("/") + target, headers, b"", self.flags.timeout_s)
        headers["content-type"] = "application/json"
        body = json.dumps(message, separators=(",", ":")).encode()
        return Request(method, self.base_url.rstrip("/") + target, headers, body, self.flags.timeout_s)


def message_id(request_id: str, kind: str) -> str:
    """The UUID of a message of ours (variant 4 of RFC 4122 is what the wire wants): the same request, the same message."""
    return str(UUID(bytes=sha256(f"{kind} {request_id}".encode()).digest()[:16], version=4))


SETTINGS = {
    "electrum_suppliers": PortSetting("text", "names of providers that speak the Electrum Airtime Service Interface"),
    "electrum_*": PortSetting("text", "what each of them needs, such as `REFILL_ELECTRUM_EASTTEL_URL`"),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """One supplier for each name in `electrum_suppliers`, e.g. "easttel".

    Needs `electrum_easttel_url`, `…_institution` (our number, 1 to 11 digits), `…_password`, `…_merchant_id` (15
    characters), `…_merchant_name`, `…_merchant_city`, `…_merchant_region`, `…_merchant_country` (two letters),
    `…_not_found_final_s` (seconds, or never) and `…_reverses` (yes where the provider supports reversals).
    Optional: `…_receiver` (their institution number), `…_products` ("airtime=89 northtel/data-5gb=12"),
    `…_merchant_type`, `…_terminal`, `…_plain_http`, `…_timeout_s`.
    """
    return [_one(Said("electrum", name, settings)) for name in names_in(settings, "electrum")]


def _one(said: Said) -> Supplier:
    institution = said.text("institution")
    if not re.fullmatch(r"[0-9]{1,11}", institution):
        raise BadInput(f"The setting electrum_{said.name}_institution must have 1 to 11 digits.")
    place = {part: said.text(f"merchant_{part}") for part in ("name", "city", "region", "country")}
    merchant_type = said.text("merchant_type", "4814")  # ISO 18245: telecommunication services
    return Electrum(
        name=said.name,
        base_url=said.address(),
        institution=institution,
        password=said.text("password"),
        # "Unless otherwise agreed, this interval shall be 60 seconds" (Protocol Basics §Failures).
        flags=said.flags(can_reverse=False, dedups=False, timeout_s="60"),
        originator={
            "institution": {"id": institution, "name": place["name"]},
            "terminalId": said.text("terminal", "refill01"),
            "merchant": {
                "merchantType": merchant_type,
                "merchantId": said.text("merchant_id"),
                "merchantName": place,
            },
        },
        receiver=said.text("receiver", ""),
        products=_products(said),
        reverses=said.yes("reverses"),
    )


def _products(said: Said) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in said.text("products", "").replace(",", " ").split()]
    if not all(ours and theirs for ours, _, theirs in pairs):
        raise BadInput(f"The setting electrum_{said.name}_products is a list such as airtime=89 northtel/data-5gb=12.")
    return {ours: theirs for ours, _, theirs in pairs}


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """A provider with a throw-away password, and what it answers."""
    supplier = Electrum(
        name="easttel",
        base_url="https://easttel.example/airtime/v5",
        institution="22222222",
        password="for examples only",  # noqa: S106
        flags=Flags(dedups_our_reference=False, not_found_is_final_after=None, can_reverse=False, timeout_s=60),
        originator={"institution": {"id": "22222222", "name": "Refill"}, "terminalId": "refill01"},
        receiver="44444444",
    )
    ask = Recharge("rq_1", "8613800138000", Money(5000, "CNY"), "easttel", "airtime", datetime(2100, 1, 1, tzinfo=UTC))
    good = {
        "id": "749dfae4-ea5e-43fc-bef8-ec087fb9f82b",
        "time": "2026-11-22T02:00:01.000Z",
        "amounts": {"approvedAmount": {"amount": 5000, "currency": "156"}},
        "product": {"productId": "airtime"},
        "msisdn": {"msisdn": ask.msisdn},
    }
    theirs = {"institutionId": "44444444", "transactionIdentifier": "E-77"}

    def example(
        says: str, expect: str, why: str = "", *, http: int = 201, ours: str = "rq_1", **other: object
    ) -> Example:
        def answers(request: Request) -> Response:
            # An answer belongs to a request that carries our message: without it, somebody else's identifiers come.
            asked = request.body or parse_qs(urlsplit(request.url).query).get("originalMsgId")
            named = [{"institutionId": "22222222", "transactionIdentifier": ours if asked else "rq_0"}, theirs]
            said = {**good, "thirdPartyIdentifiers": named} if http < 300 else {"id": "e-1"}
            return Response(http, {}, json.dumps({**said, **other}).encode())

        return Example(says, ask, answers, expect, why)

    half = {"approvedAmount": {"amount": 2500, "currency": "156"}}
    return supplier, [
        example("purchased", "done"),
        example("half of it approved", "done", amounts=half),
        example("purchased, but for another number", "unknown", msisdn={"msisdn": "8613800138001"}),
        example(
            "purchased, in another currency",
            "unknown",
            amounts={"approvedAmount": {"amount": 5000, "currency": "840"}},
        ),
        example("a voucher instead of credit", "unknown", voucher={"pin": "70"}),
        example("the answer to another request", "unknown", ours="RQ_1"),
        example("declined", "refused", http=400, errorType="DECLINED_BY_MNO"),
        example("our float is used up", "refused", EMPTY_FLOAT, http=400, errorType="INSUFFICIENT_FUNDS"),
        example("a refusal under a status that means unknown", "unknown", http=504, errorType="DECLINED_BY_MNO"),
        example("a type that nobody documented", "unknown", http=400, errorType="E_4711"),
        example("they have our reference already", "unknown", http=400, errorType="DUPLICATE_RECORD"),
        example("they never heard of it", "unknown", NOT_FOUND, http=404, errorType="UNABLE_TO_LOCATE_RECORD"),
    ]


def _ledger_amount(said: object, currency: str) -> Money | None:
    """A LedgerAmount above zero in this currency: whole minor units and a three-digit currency number; else None."""
    if not isinstance(said, dict) or said.get("currency") != NUMERIC[currency]:
        return None
    digits = said.get("amount")
    if not isinstance(digits, Number) or not re.fullmatch(r"[1-9][0-9]{0,14}", digits) or int(digits) > MAX_MINOR:
        return None
    return Money(int(digits), currency)


def _in(said: Mapping[str, Any], member: str, inner: str) -> object:
    value = said.get(member)
    return value.get(inner) if isinstance(value, dict) else None


def _read(response: Response) -> dict[str, Any]:
    """The object in an answer. Raises ValueError, or RecursionError for a very deep one."""
    if len(response.body) > MAX_ANSWER:
        raise ValueError("it is too long")
    said = json_value(response.body)
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def _now(world: World) -> str:
    return world.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
