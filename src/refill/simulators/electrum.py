"""A provider's end of the Electrum Airtime Service Interface v5: purchases, confirmations, reversals, status.

A purchase with a message id that it has is DUPLICATE_RECORD, unless `dedups` is off. A confirmed purchase cannot be
reversed; an unconfirmed one can, also before it is carried out. Numbers, trouble and truth: see `network.py`; beside them
by plan or chance: `confirmation_lost`, `reversal_lost`. `confirmed` holds the message ids of what we confirmed.
"""

import hmac
import json
import os
import re
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

from refill.simulators.network import Job, Network, page_instead
from refill.simulators.trouble import Keep, Surroundings
from refill.world import NoAnswer, Request, Response

NAME = "electrum"
PORT = 10
BASE = "/airtime/v5"
CLIENT, RECEIVER = "22222222", "44444444"
CURRENCY = {"CNY": "156", "ZAR": "710"}  # ISO 4217 numbers of what it sells
_SUPPLIER = "easttel"
_CODES = {"refused": "DECLINED_BY_MNO", "busy": "UPSTREAM_UNAVAILABLE", "empty_float": "INSUFFICIENT_FUNDS"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this provider."""
    said: dict[str, object] = {
        "url": url + BASE,
        "institution": CLIENT,
        "password": _password(keep),
        "receiver": RECEIVER,
        "merchant_id": "REFILL000000001",
        "merchant_name": "Refill",
        "merchant_city": "Beijing",
        "merchant_region": "BJ",
        "merchant_country": "CN",
        "not_found_final_s": "300",
        "reverses": "yes",
    }
    return {"electrum_suppliers": _SUPPLIER, **{f"electrum_{_SUPPLIER}_{what}": value for what, value in said.items()}}


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "ElectrumSimulator":
    """The provider with the one client that `leads` speaks of. This wire has no notices."""
    return ElectrumSimulator(password=_password(keep), base_url=url, **around)


def _password(keep: Keep) -> str:
    return keep(f"{_SUPPLIER}.password", lambda: os.urandom(32).hex())


class ElectrumSimulator(Network):
    """One provider with one client, on the Airtime Service Interface. `jobs` are by message id."""

    WHAT_HAPPENS = {
        "slow": "credited, answered after 10 s",
        "lost": "credited, but the answer is lost",
        "refused": "refused: DECLINED_BY_MNO",
        "hidden": "the answer is lost, its status is 404, and a minute later it is credited",
        "duplicate": "credited, and answered DUPLICATE_RECORD",
        "odd_code": "credited, but answered with an error type that nobody documented",
        "partial": "half of the amount is approved and credited",
        "html": "credited, but answered 200 with an HTML page",
        "truncated": "credited, but the answer breaks off",
        "wrong_amount": "credited, but the answer names another amount",
        "wrong_number": "credited, but the answer names another number",
        "empty_float": "refused: INSUFFICIENT_FUNDS",
        "later": "504 OUTCOME_UNKNOWN, credited after 8 s",
        "fails_later": "504 OUTCOME_UNKNOWN, declined after 8 s",
        "huge": "credited, but the answer is 2 MiB long",
        "busy": "refused for now, nothing done: UPSTREAM_UNAVAILABLE",
        "silent": "504 OUTCOME_UNKNOWN for ever, never credited",
        "error_500": "credited, but answered with status 500 and no body",
    }
    REFUSES = _CODES

    def __init__(self, *, password: str, name: str = _SUPPLIER, **network: Any) -> None:
        super().__init__(name=name, **network)
        self._who = "Basic " + b64encode(f"{CLIENT}:{password}".encode()).decode()
        self._orders: dict[str, dict[str, Any]] = {}  # PurchaseRequests by message id
        self.confirmed: set[str] = set()

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        if own := self.page_or_truth(request):
            return own
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self.base_path)
        if not path.startswith(f"{BASE}/purchases"):
            return Response(404, {"content-type": "text/plain"}, b"")
        shown = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(shown, self._who.encode()):
            return Response(401, {}, b"")
        if (request.method, path) == ("GET", f"{BASE}/purchases/status"):
            return self._status(parse_qs(parts.query).get("originalMsgId", [""])[0])
        try:
            said = json.loads(request.body)
            if (
                not _UUID.fullmatch(said["id"])
                or not said["time"]
                or not isinstance(said["thirdPartyIdentifiers"], list)
            ):
                raise ValueError("unusable")
            match request.method, path.removeprefix(BASE):
                case "POST", "/purchases":
                    return await self._purchase(said)
                case "POST", "/purchases/confirmations":
                    return self._confirm(said)
                case "POST", "/purchases/reversals":
                    return await self._take_back(said)
        except (ValueError, KeyError, TypeError):
            return self._error(400, "FORMAT_ERROR")
        return self._error(501, "FUNCTION_NOT_SUPPORTED")

    async def _purchase(self, said: dict[str, Any]) -> Response:
        asked = said["amounts"]["requestAmount"]
        minor, msisdn = asked["amount"], said["recipientMsisdn"]["msisdn"]
        usable = type(minor) is int and minor > 0 and re.fullmatch(r"\+?[1-9][0-9]{1,14}", msisdn)
        if not usable or not said["product"]["productId"] or not said["originator"] or not said["client"]["id"]:
            raise ValueError("unusable")
        if asked["currency"] != CURRENCY[self.currency]:
            return self._error(400, "INVALID_AMOUNT")
        job = self.jobs.get(said["id"])
        if job is not None and self.dedups:
            return self._error(400, "DUPLICATE_RECORD")
        if job is None:
            self._orders[said["id"]] = said
            job = self.take(said["id"], msisdn, minor)
        else:
            self.credit(job, minor)
        if self.hidden(job):
            raise NoAnswer("the answer was lost")
        return await self._troubled(job)

    def _status(self, id_: str) -> Response:
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return page_instead()
        job = self.jobs.get(id_)
        if job is None or self.hidden(job) or job.status == "reversed":
            return self._error(404, "UNABLE_TO_LOCATE_RECORD")
        return self._told(job, 200)

    def _confirm(self, said: dict[str, Any]) -> Response:
        job = self.jobs.get(said["requestId"])
        if job is None or job.status not in ("delivered", "partial"):
            return self._error(404, "UNABLE_TO_LOCATE_RECORD")
        self.confirmed.add(job.request_id)
        if self.troubles.strikes("confirmation_lost"):
            raise NoAnswer("the answer was lost")
        return self._acknowledged(said)

    async def _take_back(self, said: dict[str, Any]) -> Response:
        if said["reversalReason"] not in ("TIMEOUT", "CANCELLED", "RESPONSE_NOT_FINAL"):
            raise ValueError("unusable")
        job = self.jobs.get(said["requestId"])
        if job is None or self.hidden(job):
            return self._error(404, "UNABLE_TO_LOCATE_RECORD")
        if job.request_id in self.confirmed:
            return self._error(400, "ACCOUNT_ALREADY_SETTLED")
        if job.status in ("delivered", "partial"):
            await self.reverse(job)
        elif job.status == "processing":
            job.status = "reversed"  # `network` carries nothing out that is not processing
        if self.troubles.strikes("reversal_lost"):
            raise NoAnswer("the answer was lost")
        return self._acknowledged(said)

    def _acknowledged(self, said: dict[str, Any]) -> Response:
        kept = {"id": said["id"], "requestId": said["requestId"], "time": self._time()}
        return _json(202, kept | {"thirdPartyIdentifiers": said["thirdPartyIdentifiers"]})

    def _told(self, job: Job, status: int) -> Response:
        """The PurchaseResponse or ErrorDetail as it stands."""
        if job.status == "processing":
            return self._error(504, "OUTCOME_UNKNOWN")
        if job.code:
            return self._error(503 if job.code == "UPSTREAM_UNAVAILABLE" else 400, job.code)
        return _json(status, self._response(job))

    def _response(self, job: Job) -> dict[str, Any]:
        order = self._orders[job.request_id]
        approved = min(job.credited_minor, job.face_minor)
        theirs = {"institutionId": RECEIVER, "transactionIdentifier": job.reference}
        return {
            "id": job.request_id,
            "time": self._time(),
            "originator": order["originator"],
            "client": order["client"],
            "receiver": {"id": RECEIVER, "name": self.name},
            "thirdPartyIdentifiers": [*order["thirdPartyIdentifiers"], theirs],
            "amounts": {"approvedAmount": {"amount": approved, "currency": CURRENCY[self.currency]}},
            "product": {"productId": order["product"]["productId"], "name": "Airtime", "type": "AIRTIME_VARIABLE"},
            "msisdn": {"msisdn": job.msisdn},
        }

    async def _troubled(self, job: Job) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        said = self._response(job)
        match job.trouble:
            case "slow":
                await self._sleep(10)
            case "lost":
                raise NoAnswer("the answer was lost")
            case "duplicate":
                return self._error(400, "DUPLICATE_RECORD")
            case "odd_code":
                return self._error(400, "E_4711")
            case "html":
                return page_instead()
            case "wrong_amount":
                said["amounts"]["approvedAmount"]["amount"] = job.face_minor + 100
                return _json(201, said)
            case "wrong_number":
                said["msisdn"] = {"msisdn": job.msisdn[:-1] + str((int(job.msisdn[-1]) + 1) % 10)}
                return _json(201, said)
            case "huge":
                return _json(201, said | {"slipData": "x" * (2 << 20)})
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
            case "truncated":
                whole = _json(201, said)
                return Response(whole.status, whole.headers, whole.body[: len(whole.body) // 2])
        return self._told(job, 201)

    def _error(self, status: int, kind: str) -> Response:
        id_ = f"{self._dice.getrandbits(32):08x}-0000-4000-8000-{self._dice.getrandbits(48):012x}"
        return _json(
            status, {"id": id_, "errorType": kind, "errorMessage": kind[:20], "requestType": "PURCHASE_REQUEST"}
        )

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(status: int, said: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(said).encode())
