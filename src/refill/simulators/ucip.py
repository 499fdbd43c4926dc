"""An operator's Ericsson AIR over UCIP 5.0: Refill and GetBalanceAndDate, by the standard library's XML-RPC.

It answers an `originTransactionID` that it has with the first answer, unless `dedups` is off. There is nothing to ask and
nothing to be told. Numbers, trouble and truth: see `network.py`.
"""

import hmac
import os
import re
import xmlrpc.client  # what declares a document type is refused before it is read
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from refill.simulators.network import Job, Network, page_instead
from refill.simulators.trouble import Keep, Surroundings
from refill.world import NoAnswer, Request, Response

NAME = "ucip"
PORT = 11
PATH = "/Air"
FLOAT_NUMBER = "8613800000000"
USER = "refill"
_SUPPLIER = "westtel"
_HEADER = ("originNodeType", "originHostName", "originTransactionID", "originTimeStamp", "subscriberNumber")
_CODES = {"refused": "103", "not_ours": "102", "busy": "104", "empty_float": "100"}


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this AIR."""
    return {
        "ucip_suppliers": _SUPPLIER,
        f"ucip_{_SUPPLIER}_url": url + PATH,
        f"ucip_{_SUPPLIER}_user": USER,
        f"ucip_{_SUPPLIER}_password": _password(keep),
        f"ucip_{_SUPPLIER}_float_number": FLOAT_NUMBER,
        f"ucip_{_SUPPLIER}_dedups": "yes",
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "UcipSimulator":
    """The AIR with the one client that `leads` speaks of. This wire has no notices."""
    return UcipSimulator(password=_password(keep), base_url=url, **around)


def _password(keep: Keep) -> str:
    return keep(f"{_SUPPLIER}.password", lambda: os.urandom(32).hex())


class UcipSimulator(Network):
    """One operator's AIR with one client. `jobs` are by originTransactionID."""

    WHAT_HAPPENS = {
        "slow": "credited, answered after 10 s",
        "lost": "credited, but the answer is lost",
        "refused": "refused: 103",
        "hidden": "the answer is lost, also when asked again, and a minute later it is credited",
        "odd_code": "credited, but answered with a code that nobody documented",
        "html": "credited, but answered 200 with an HTML page",
        "truncated": "credited, but the answer breaks off",
        "wrong_amount": "credited, but the answer names another amount",
        "wrong_number": "credited, but the answer names another number",
        "not_ours": "refused: 102",
        "huge": "credited, but the answer is 2 MiB long",
        "busy": "refused for now: 104",
        "error_500": "credited, but answered with status 500 and no body",
    }
    REFUSES = _CODES

    def __init__(self, *, password: str, name: str = _SUPPLIER, **network: Any) -> None:
        super().__init__(name=name, **network)
        self._who = "Basic " + b64encode(f"{USER}:{password}".encode()).decode()

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        if own := self.page_or_truth(request):
            return own
        if (request.method, urlsplit(request.url).path.removeprefix(self.base_path)) != ("POST", PATH):
            return Response(404, {"content-type": "text/plain"}, b"")
        shown = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(shown, self._who.encode()) or not request.headers.get("user-agent"):
            return Response(401, {}, b"")
        try:
            if b"<!DOCTYPE" in request.body:
                raise ValueError("unusable")
            called: Any = xmlrpc.client.loads(request.body)
            [said], method = called
            if not all(said[member] for member in _HEADER):
                raise ValueError("unusable")
            if not re.fullmatch(r"[0-9]{1,20}", said["originTransactionID"]):
                raise ValueError("unusable")
            match method:
                case "Refill":
                    return await self._refill(said)
                case "GetBalanceAndDate" if said["subscriberNumber"] == FLOAT_NUMBER:
                    return self._balance(said)
        except (ValueError, KeyError, TypeError, ExpatError, xmlrpc.client.Error):
            return _fault(1000, "Illegal request message")
        return _fault(1001, "Unknown operation")

    async def _refill(self, said: dict[str, Any]) -> Response:
        id_, number, minor = said["originTransactionID"], said["subscriberNumber"], said["transactionAmount"]
        usable = re.fullmatch(r"[1-9][0-9]{0,11}", minor) and re.fullmatch(r"[0-9]{1,28}", number)
        if not usable or said["transactionCurrency"] != self.currency:
            raise ValueError("unusable")
        job, repeated = self.jobs.get(id_), id_ in self.jobs
        if job is None:
            job = self.take(id_, number, int(minor))
        elif not self.dedups:
            self.credit(job, int(minor))
        if self.hidden(job):
            raise NoAnswer("the answer was lost")
        return await self._troubled(job, "" if repeated else job.trouble)

    def _balance(self, said: dict[str, Any]) -> Response:
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        return _response(
            originTransactionID=said["originTransactionID"],
            responseCode=0,
            serviceClassCurrent=1,
            languageIDCurrent=1,
            currency1=self.currency,
            accountValue1=str(self.float_minor),
        )

    async def _troubled(self, job: Job, trouble: str) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        said: dict[str, Any] = {"originTransactionID": job.request_id, "responseCode": int(job.code or 0)}
        if not job.code:
            said |= {
                "masterAccountNumber": job.msisdn,
                "transactionAmount": str(job.face_minor),
                "transactionCurrency": self.currency,
            }
        match trouble:
            case "slow":
                await self._sleep(10)
            case "lost":
                raise NoAnswer("the answer was lost")
            case "odd_code":
                said["responseCode"] = 4711
            case "html":
                return page_instead()
            case "wrong_amount":
                said["transactionAmount"] = str(job.face_minor + 100)
            case "wrong_number":
                said["masterAccountNumber"] = job.msisdn[:-1] + str((int(job.msisdn[-1]) + 1) % 10)
            case "huge":
                said["externalData1"] = "x" * (2 << 20)
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
            case "truncated":
                whole = _response(**said)
                return Response(whole.status, whole.headers, whole.body[: len(whole.body) // 2])
        return _response(**said)


def _response(**members: Any) -> Response:
    body = xmlrpc.client.dumps((members,), methodresponse=True, encoding="utf-8")
    return Response(200, {"content-type": "text/xml"}, body.encode())


def _fault(code: int, says: str) -> Response:
    body = xmlrpc.client.dumps(xmlrpc.client.Fault(code, says), encoding="utf-8")
    return Response(200, {"content-type": "text/xml"}, body.encode())
