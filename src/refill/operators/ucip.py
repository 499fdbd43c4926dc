"""The supplier `ucip`: an operator's own charging system, Ericsson AIR, asked to Refill over UCIP 5.0 (XML-RPC over HTTP).

The wire: `POST` of an XML-RPC methodCall with HTTP Basic and a User-Agent that names the version of the protocol.

- `Refill` adds `transactionAmount`, a text of whole minor units, to the account of `subscriberNumber`.
- `GetBalanceAndDate` tells what is left of an account; asked for the one from which the operator takes our refills.
- `originTransactionID` is ours, at most twenty digits: a function of our request id, so that the same request keeps it.

There is no question for what became of a refill. AIR knows an originTransactionID again and answers the first answer, but
for how long, and whether this operator's does at all, only the operator can say: so `…_dedups` has no default. Where it
does, the flow sends again under the same id while the payer's money is still with us; so `inquire` asks nobody, and says
that nobody can tell. That is never a no: `not_found_is_final_after` is never.

A refill cannot be taken back: UpdateBalanceAndDate is an adjustment of its own, which knows nothing of the refill. There
are no notices. Codes are those of the response's `responseCode` that public clients name; every other one is a perhaps,
and so is an XML-RPC fault. Without an amount in its answer a refill is not believed, although the field is optional.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from refill.errors import NotVerified
from refill.money import MAX_MINOR, Money
from refill.operators.supplier import (
    Delivery,
    Example,
    Flags,
    Recharge,
    Said,
    Supplier,
    SupplierNotice,
    names_in,
)
from refill.outcome import NOT_FOUND, NOT_SENT, NOT_THEIRS, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "ucip"
MAX_ANSWER = 1 << 18
MAX_DEPTH = 64
AGENT = "UGw Server/5.0/1.0"

# responseCode: credited; 1 and 2 are "ok, but a period had ended", which the refill itself mends.
CREDITED = {"0", "1", "2"}
REFUSES = {
    "102": Refused(NOT_THEIRS),  # subscriber not found: AIR is one operator's, and knows its own
    "103": Refused("the operator has barred this number from refills"),
    "104": Refused("the operator has blocked this number for a while", final=False),
    "115": Refused("the operator does not accept this refill"),
    "120": Refused("the operator does not know this refill profile", final=False),
    "123": Refused("the balance would rise above the operator's limit"),
    "126": Refused("the number is not active"),
    "177": Refused("the number is not active"),
    "178": Refused("the number's service has ended"),
    "179": Refused("the number's validity has ended"),
}
PERHAPS = {"100": "the operator does not say what happened", "999": "the operator does not say what happened"}


@dataclass(frozen=True)
class Ucip:
    """One operator's AIR. `host_name` is ours there, `profile` its refill profile, `float_number` the account we pay from."""

    name: str
    url: str
    user: str
    password: str = field(repr=False)
    flags: Flags
    host_name: str = "refill"
    profile: str = ""
    float_number: str = field(default="", repr=False)
    agent: str = AGENT

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        order: dict[str, str | int | datetime] = self._header(world, transaction_id(ask.request_id), ask.msisdn) | {
            "transactionAmount": str(ask.face.minor),
            "transactionCurrency": ask.face.currency,
        }
        request = self._request("Refill", order | ({"refillProfileID": self.profile} if self.profile else {}))
        # A worker that froze wakes here; by now another may have asked in its place. Nothing may stand between this
        # line and the call. Unknown, not refused: an earlier sending of the same request may be on its way.
        if world.db_now() >= ask.send_before:
            return Unknown("It was too late to send this request.")
        try:
            said = answered(await call(world, request))
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("The operator did not answer.")
        except ValueError as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        return _refilled(said, ask)

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        return Unknown(NOT_FOUND)

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        if not self.float_number:
            return Unknown("No account is set from which this operator takes our refills.")
        ours = f"{world.chance(64) % 10**20}"
        try:
            header = self._header(world, ours, self.float_number)
            said = answered(await call(world, self._request("GetBalanceAndDate", header)))
        except (NotSent, NoAnswer):
            return Unknown("The operator did not answer.")
        except ValueError as error:
            return Unknown(f"The operator's answer cannot be believed: {error}"[:200])
        value = said.get("accountValue1")
        if said.get("originTransactionID") != ours or said.get("responseCode") != "0":
            return Unknown("The operator's answer is not our balance.", _code(said))
        if said.get("currency1") != currency:
            return Unknown("The operator's answer is about another currency.", "WRONG_CURRENCY")
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,15}", value):
            return Unknown("The operator's answer names no balance.")
        return Done(Money(int(value), currency))

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        raise NotVerified("UCIP sends no notices.")

    def _header(self, world: World, transaction: str, number: str) -> dict[str, str | int | datetime]:
        """What every UCIP request begins with."""
        return {
            "originNodeType": "EXT",
            "originHostName": self.host_name,
            "originTransactionID": transaction,
            "originTimeStamp": world.now(),
            "subscriberNumberNAI": 1,  # an international number
            "subscriberNumber": number,
        }

    def _request(self, method: str, members: Mapping[str, str | int | datetime]) -> Request:
        who = b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"content-type": "text/xml", "user-agent": self.agent, "authorization": f"Basic {who}"}
        return Request("POST", self.url, headers, method_call(method, members), self.flags.timeout_s)


def transaction_id(request_id: str) -> str:
    """Twenty digits for a request of ours, for ever the same.

    Among a hundred million refills two share one with a chance of 5 in 100,000; then AIR answers for the other's.
    """
    return f"{int.from_bytes(sha256(request_id.encode()).digest()) % 10**20:020d}"


def _refilled(said: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
    """What a RefillResponse means for `ask`. Only the code table says no, and only an answer about `ask` itself."""
    transaction, code = transaction_id(ask.request_id), _code(said)
    if code.startswith("FAULT_"):
        return Unknown("The operator's AIR could not work with the request.", code)
    if said.get("originTransactionID") != transaction:
        return Unknown("The operator's answer is about another request.", "OTHER_REQUEST")
    if known := REFUSES.get(code):
        return Refused(known.reason, code, known.final)
    if code in PERHAPS:
        return Unknown(PERHAPS[code])
    if code not in CREDITED:
        return Unknown("The operator says something that is not documented.", code or "NO_CODE")
    if not _is_number(said.get("masterAccountNumber"), ask.msisdn):
        return Unknown("The operator names another number.", "WRONG_NUMBER")
    minor = said.get("transactionAmount")
    readable = isinstance(minor, str) and re.fullmatch(r"[0-9]{1,15}", minor)
    if not readable or int(str(minor)) > MAX_MINOR or Money(int(str(minor)), ask.face.currency) != ask.face:
        return Unknown("The operator names another amount.", "WRONG_AMOUNT")
    if said.get("transactionCurrency", ask.face.currency) != ask.face.currency:
        return Unknown("The operator names another amount.", "WRONG_AMOUNT")
    return Done(Delivery(transaction, ask.msisdn, ask.face))


def _is_number(account: object, msisdn: str) -> bool:
    """Is this account the number's? AIR may leave it out, or name it without the country code, with a zero before."""
    if account is None:
        return True
    if not isinstance(account, str) or not re.fullmatch(r"\+?[0-9]{5,28}", account):
        return False
    return account.removeprefix("+") == msisdn or (len(account) >= 8 and msisdn.endswith(account.lstrip("0")))


def _code(said: Mapping[str, Any]) -> str:
    return str(said.get("responseCode") or "")[:64]


# ------------------------------------------------------------------ XML-RPC


def method_call(method: str, members: Mapping[str, str | int | datetime]) -> bytes:
    """An XML-RPC call with one struct. Times are UTC, as AIR writes them: 20261122T02:00:00+0000."""
    inside = "".join(
        f"<member><name>{name}</name><value>{_written(value)}</value></member>" for name, value in members.items()
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?><methodCall><methodName>{method}</methodName>'
        f"<params><param><value><struct>{inside}</struct></value></param></params></methodCall>"
    ).encode()


def _written(value: str | int | datetime) -> str:
    match value:
        case datetime():
            stamp = value.astimezone(UTC).strftime("%Y%m%dT%H:%M:%S+0000")
            return f"<dateTime.iso8601>{stamp}</dateTime.iso8601>"
        case int():
            return f"<i4>{value}</i4>"
    return f"<string>{escape(value)}</string>"


def answered(response: Response) -> dict[str, Any]:
    """The struct of an XML-RPC answer; every number in its own digits. Of a fault, its code as a responseCode.

    No DTD, so no entities of its own; a limited length and depth. Raises ValueError for anything else.
    """
    if len(response.body) > MAX_ANSWER:
        raise ValueError("it is too long")
    root = _tree(response.body)
    if root.name != "methodResponse" or len(root.inside) != 1:
        raise ValueError("it is no XML-RPC answer")
    [body] = root.inside
    if body.name == "fault":
        fault = _value(_only(body, "value"))
        return {"responseCode": f"FAULT_{fault.get('faultCode') if isinstance(fault, dict) else ''}"}
    said = _value(_only(_only(_only(root, "params"), "param"), "value"))
    if not isinstance(said, dict):
        raise ValueError("it holds no struct")
    return said


@dataclass(slots=True)
class _Element:
    name: str
    inside: list["_Element"] = field(default_factory=list)
    text: str = ""


def _tree(body: bytes) -> _Element:
    """The elements of a document. Raises ValueError."""
    top = _Element("")
    path = [top]

    def opened(name: str, attributes: object) -> None:
        if len(path) > MAX_DEPTH:
            raise ValueError("it is too deep")
        path[-1].inside.append(element := _Element(name))
        path.append(element)

    def closed(name: str) -> None:
        path.pop()

    def read(text: str) -> None:
        path[-1].text += text

    def refused(*declared: object) -> None:
        raise ValueError("it declares a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = opened, closed, read
    parser.StartDoctypeDeclHandler = refused
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError("it is not XML") from error
    return top.inside[0]


def _only(element: _Element, name: str) -> _Element:
    if [each.name for each in element.inside] != [name]:
        raise ValueError(f"its {element.name} does not hold one {name}")
    return element.inside[0]


def _value(value: _Element) -> Any:
    """A struct as a dict, an array as a list, everything else as its text."""
    if not value.inside:
        return value.text  # a text may stand without its type
    if len(value.inside) != 1:
        raise ValueError("a value has two types")
    [typed] = value.inside
    match typed.name:
        case "struct":
            members = [_member(member) for member in typed.inside]
            if len({name for name, _ in members}) != len(members):
                raise ValueError("it names a member twice")
            return dict(members)
        case "array":
            return [_value(each) for each in _only(typed, "data").inside]
    return typed.text


def _member(member: _Element) -> tuple[str, Any]:
    if [each.name for each in member.inside] != ["name", "value"]:
        raise ValueError("a member has no name or no value")
    return member.inside[0].text, _value(member.inside[1])


# ------------------------------------------------------------------ settings, examples

SETTINGS = {
    "ucip_suppliers": PortSetting("text", "names of operators whose Ericsson AIR we refill through (UCIP)"),
    "ucip_*": PortSetting("text", "what each of them needs, such as `REFILL_UCIP_WESTTEL_URL`"),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """One supplier for each name in `ucip_suppliers`, e.g. "westtel".

    Needs `ucip_westtel_url` (with its path, such as `/Air`), `…_user`, `…_password`, and `…_dedups` (yes where the
    operator promises to know an originTransactionID again, for as long as orders wait).
    Optional: `…_host_name`, `…_profile`, `…_float_number`, `…_agent`, `…_plain_http`, `…_timeout_s`.
    """
    return [_one(Said("ucip", name, settings)) for name in names_in(settings, "ucip")]


def _one(said: Said) -> Supplier:
    return Ucip(
        name=said.name,
        url=said.address(),
        user=said.text("user"),
        password=said.text("password"),
        flags=Flags(
            dedups_our_reference=said.yes("dedups"),
            not_found_is_final_after=None,
            can_reverse=False,
            timeout_s=said.seconds("timeout_s", "30"),
        ),
        host_name=said.text("host_name", "refill"),
        profile=said.text("profile", ""),
        float_number=said.text("float_number", ""),
        agent=said.text("agent", AGENT),
    )


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """An operator with a throw-away password, and what its AIR answers."""
    supplier = Ucip(
        name="westtel",
        url="https://westtel.example/Air",
        user="refill",
        password="for examples only",  # noqa: S106
        flags=Flags(dedups_our_reference=True, not_found_is_final_after=None, can_reverse=False),
        float_number="8613800000000",
    )
    ask = Recharge("rq_1", "8613800138000", Money(5000, "CNY"), "westtel", "airtime", datetime(2100, 1, 1, tzinfo=UTC))
    good = {
        "responseCode": "0",
        "masterAccountNumber": ask.msisdn,
        "transactionAmount": "5000",
        "transactionCurrency": "CNY",
    }

    def example(says: str, at_once: str, **other: str) -> Example:
        def answers(request: Request) -> Response:
            found = re.search(rb"<name>originTransactionID</name><value><string>([0-9]+)<", request.body)
            said = {"originTransactionID": found[1].decode() if found else "0", **good, **other}
            called = method_call("", said).replace(b"methodCall>", b"methodResponse>")
            return Response(200, {}, called.replace(b"<methodName></methodName>", b""))

        return Example(says, ask, answers, "unknown", at_once=at_once)

    return supplier, [
        example("credited", "done"),
        example("credited, after the validity had ended", "done", responseCode="1"),
        example("credited, but for another number", "unknown", masterAccountNumber="8613800138001"),
        example("credited, but another amount", "unknown", transactionAmount="3000"),
        example("credited, in another currency", "unknown", transactionCurrency="USD"),
        example("the answer to another request", "unknown", originTransactionID="1"),
        example("not their subscriber", "refused", responseCode="102"),
        example("barred from refills", "refused", responseCode="103"),
        example("blocked for a while", "refused", responseCode="104"),
        example("some other error", "unknown", responseCode="100"),
        example("a code that nobody documented", "unknown", responseCode="4711"),
    ]
