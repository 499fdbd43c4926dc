"""An operator's end of the TM Forum Prepay Balance Management API (TMF654 v4): top-ups, a bucket for our float, events.

It heeds `Idempotency-Key` unless `dedups` is off, filters its list by `description`, and answers refusals with codes of
its own, as every operator does. Numbers, trouble and truth: see `network.py`.
"""

import hmac
import json
import os
import re
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.network import Job, Network, page_instead
from refill.simulators.trouble import Keep, Surroundings
from refill.world import NoAnswer, Request, Response

NAME = "tmf654"
PORT = 9
BASE = "/tmf-api/prepayBalanceManagement/v4"
FLOAT_BUCKET = "float-1"
_SUPPLIER = "southtel"
_CODES = {"refused": "4001", "not_ours": "4002", "busy": "4010", "empty_float": "4020"}
_MEANS = "4001=number 4002=not_theirs 4010=busy 4020=empty_float 4090=duplicate"
_numbers = msgspec.json.Encoder(decimal_format="number")  # Quantity.amount is a JSON number: 24.62, never a text
_STATUS = {
    "processing": "created",
    "delivered": "completed",
    "partial": "completed",  # the standard has no word for it
    "refused": "failed",
    "reversed": "cancelled",
}


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this operator."""
    return {
        "tmf654_suppliers": _SUPPLIER,
        f"tmf654_{_SUPPLIER}_url": url + BASE,
        f"tmf654_{_SUPPLIER}_token": _kept(keep, "token"),
        f"tmf654_{_SUPPLIER}_account": "refill",
        f"tmf654_{_SUPPLIER}_float_bucket": FLOAT_BUCKET,
        f"tmf654_{_SUPPLIER}_notice_token": _kept(keep, "notice"),
        f"tmf654_{_SUPPLIER}_codes": _MEANS,
        f"tmf654_{_SUPPLIER}_dedups": "yes",
        f"tmf654_{_SUPPLIER}_not_found_final_s": "300",
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "Tmf654Simulator":
    """The operator with the one client that `leads` speaks of; its events go to Refill's own callback."""
    return Tmf654Simulator(
        token=_kept(keep, "token"),
        notice_token=_kept(keep, "notice"),
        base_url=url,
        notify_url=f"{product_url}/callbacks/suppliers/{_SUPPLIER}" if product_url else "",
        **around,
    )


def _kept(keep: Keep, what: str) -> str:
    return keep(f"{_SUPPLIER}.{what}", lambda: os.urandom(32).hex())


class Tmf654Simulator(Network):
    """One operator with one client, on TMF654."""

    WHAT_HAPPENS = {
        "slow": "completed, answered after 10 s",
        "lost": "completed, but the answer is lost",
        "refused": "refused: 4001",
        "hidden": "the answer is lost, the list does not have it, and a minute later it is completed",
        "duplicate": "completed, the answer is lost, and asking again is answered 409 with the code 4090",
        "odd_code": "completed, but answered with an error code that nobody documented",
        "partial": "half of the amount is credited, and the top-up names that half",
        "html": "completed, but answered 200 with an HTML page",
        "truncated": "completed, but the answer breaks off",
        "wrong_amount": "completed, but the answer names another amount",
        "wrong_number": "completed, but the answer names another number",
        "not_ours": "refused: 4002",
        "empty_float": "refused: 4020",
        "later": "created, completed after 8 s",
        "fails_later": "created, failed after 8 s",
        "contradicts": "completed, then a failure event comes",
        "huge": "completed, but the answer is 2 MiB long",
        "busy": "refused for now, nothing done: 4010",
        "reversed": "completed, and cancelled after 20 s",
        "silent": "created for ever, never completed",
        "error_500": "completed, but answered with status 500 and no body",
    }
    REFUSES = _CODES

    def __init__(self, *, token: str, notice_token: str, name: str = _SUPPLIER, **network: Any) -> None:
        super().__init__(name=name, **network)
        self._token, self._notice_token = token, notice_token

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        if own := self.page_or_truth(request):
            return own
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self.base_path)
        shown = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not path.startswith(BASE):
            return Response(404, {"content-type": "text/plain"}, b"")
        if not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            return _error(401, "41", "Invalid credentials")
        match request.method, path.removeprefix(BASE).strip("/").split("/"):
            case "POST", ["topupBalance"]:
                return await self._top_up(request)
            case "GET", ["topupBalance"]:
                return self._list(parse_qs(parts.query).get("description", [""])[0])
            case "GET", ["bucket", bucket] if bucket == FLOAT_BUCKET:
                return _json(200, self._bucket())
        return _error(404, "60", "Resource not found")

    async def _top_up(self, request: Request) -> Response:
        try:
            order = json.loads(request.body, parse_float=str, parse_int=str)
            reference, msisdn = order["description"], order["bucket"]["id"]
            face = amount(order["amount"]["amount"], order["amount"]["units"])
            usable = re.fullmatch(r"[0-9A-Za-z_.-]{1,64}", reference) and re.fullmatch(r"[0-9]{8,15}", msisdn)
            if not usable or face.currency != self.currency:
                raise ValueError("unusable")
        except (ValueError, KeyError, TypeError, NotAnAmount):
            return _error(400, "22", "Invalid body")
        job, repeated = self.jobs.get(reference), reference in self.jobs
        if job is None:
            job = self.take(reference, msisdn, face.minor)
        elif job.trouble == "duplicate" and self.dedups:
            return _error(409, "4090", "There is a top-up under this key")
        elif not self.dedups:
            self.credit(job, face.minor)
        if self.hidden(job):
            raise NoAnswer("the answer was lost")
        return await self._troubled(job, "" if repeated else job.trouble)

    def _list(self, reference: str) -> Response:
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return page_instead()
        jobs = [job for job in self.jobs.values() if not self.hidden(job) and reference in ("", job.request_id)]
        return _json(200, [self._resource(job) for job in jobs])

    def _resource(self, job: Job) -> dict[str, Any]:
        """The TopupBalance as it stands."""
        return {
            "id": job.reference,
            "href": f"{BASE}/topupBalance/{job.reference}",
            "@type": "TopupBalance",
            "description": job.request_id,
            "status": _STATUS[job.status],
            "reason": job.code,
            "amount": self._quantity(min(job.credited_minor, job.face_minor) or job.face_minor),
            "usageType": "monetary",
            "bucket": {"id": job.msisdn},
            "logicalResource": [{"id": job.msisdn, "@referredType": "MSISDN"}],
            "partyAccount": {"id": "refill"},
        }

    def _bucket(self) -> dict[str, Any]:
        return {"id": FLOAT_BUCKET, "status": "active", "remainingValue": self._quantity(self.float_minor)}

    def _quantity(self, minor: int) -> dict[str, Any]:
        return {"amount": Decimal(decimal_text(minor, self.currency)), "units": self.currency}

    async def _troubled(self, job: Job, trouble: str) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        said = self._resource(job)
        match trouble:
            case "slow":
                await self._sleep(10)
            case "lost" | "duplicate":
                raise NoAnswer("the answer was lost")
            case "odd_code":
                return _error(400, "E-4711", "Something")
            case "html":
                return page_instead()
            case "wrong_amount":
                said["amount"] = self._quantity(job.face_minor + 100)
            case "wrong_number":
                said["logicalResource"] = [{"id": job.msisdn[:-1] + str((int(job.msisdn[-1]) + 1) % 10)}]
            case "huge":
                said["padding"] = "x" * (2 << 20)
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
            case "truncated":
                whole = _json(201, said)
                return Response(whole.status, whole.headers, whole.body[: len(whole.body) // 2])
        return _error(409, job.code, "The top-up failed") if job.code else _json(201, said)

    def announce(self, job: Job, status: str, after_s: float = 0.0) -> None:
        if not self.notify_url:
            return
        kind = {"refused": "Failure", "reversed": "Cancel"}.get(status, "Create")
        event = {
            "eventId": f"ev_{self._dice.getrandbits(64):016x}",
            "eventType": f"TopupBalance{kind}Event",
            "eventTime": self._now().isoformat(),
            "timeOcurred": self._now().isoformat(),  # the standard spells it so
            "event": {"topupBalance": self._resource(job) | {"status": _STATUS[status]}},
        }
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._notice_token}"}
        self.notify(lambda: Request("POST", self.notify_url, headers, _numbers.encode(event)), after_s)


def _json(status: int, said: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, _numbers.encode(said))


def _error(status: int, code: str, reason: str) -> Response:
    return _json(status, {"@type": "Error", "code": code, "reason": reason, "status": str(status)})
