"""An operator's end of the wire `http_json`: a prepaid float, recharges, inquiries, callbacks, and trouble by number.

It takes credit back when it is asked, and lists what left the float and came back to it; both by plan or chance with
trouble: `reversal_lost`, `reversal_later`, `reversal_busy`, `statement_omits`, `statement_twice`, `statement_dearer`,
`statement_stranger`.

Served by `refill simulator operator`; the seeded simulator calls `handle` directly in virtual time. What truly happened
stands in plain attributes: `credits`, `reversals`, `refused`, `float_minor`; from another process, in `GET /truth`.

The last four digits of a number decide what happens (`WHAT_HAPPENS`, also shown on the page at `/`); `chances` gives
the same troubles a probability each, `troubles.plan(name)` makes one happen next. Beside them, by plan or chance:
`inquiry_lost`, `inquiry_html`, `lose_notice`, `double_notice`, `late_notice`. From another process: `POST /troubles`
with `name=lost&times=1`.
"""

import hmac
import json
import os
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.network import Credit, Job, Network, page_instead
from refill.simulators.trouble import Keep, Surroundings
from refill.world import NoAnswer, Request, Response

WHAT_HAPPENS = {
    "slow": "delivered, answered after 10 s",
    "lost": "delivered, but the answer is lost",
    "refused": "refused: NUMBER_BARRED",
    "hidden": "the answer is lost, an inquiry says not_found, and a minute later it is delivered",
    "duplicate": "delivered, the answer is lost, and asking again is answered DUPLICATE_REFERENCE",
    "odd_code": "delivered, but answered with a code that nobody documented",
    "partial": "half of the amount is delivered",
    "html": "delivered, but answered 200 with an HTML page",
    "truncated": "delivered, but the answer breaks off",
    "wrong_amount": "delivered, but the answer names another amount",
    "wrong_number": "delivered, but the answer names another number",
    "not_ours": "refused: NOT_OUR_SUBSCRIBER",
    "empty_float": "refused: INSUFFICIENT_FLOAT",
    "later": "processing, delivered after 8 s",
    "fails_later": "processing, refused after 8 s",
    "contradicts": "delivered, then a signed notice says refused",
    "unsigned": "delivered, but the answer is not signed",
    "huge": "delivered, but the answer is 2 MiB long",
    "busy": "refused for now, nothing done: BUSY",
    "reversed": "delivered, and taken back after 20 s",
    "silent": "processing for ever, never delivered",
    "error_500": "delivered, but answered with status 500 and no body",
    "spent": "delivered, and spent at once: nothing can be taken back",
}
_REFUSES = {
    "refused": "NUMBER_BARRED",
    "not_ours": "NOT_OUR_SUBSCRIBER",
    "empty_float": "INSUFFICIENT_FLOAT",
    "busy": "BUSY",
}
_SKEW = timedelta(minutes=5)
_PAGE = 500  # transactions


NAME = "operator"
PORT = 2
_SUPPLIER = "northtel"  # the one that `refill up` plays with


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this operator."""
    return {
        "http_json_suppliers": _SUPPLIER,
        f"http_json_{_SUPPLIER}_url": url,
        f"http_json_{_SUPPLIER}_secret": _kept_secret(keep),
        f"http_json_{_SUPPLIER}_dedups": "yes",
        f"http_json_{_SUPPLIER}_not_found_final_s": "300",
        f"http_json_{_SUPPLIER}_can_reverse": "yes",
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "OperatorSimulator":
    """The operator with the one client that `leads` speaks of; notices go to Refill's own callback."""
    return OperatorSimulator(
        secret=_kept_secret(keep).encode(),
        base_url=url,
        notify_url=f"{product_url}/callbacks/suppliers/{_SUPPLIER}" if product_url else "",
        **around,
    )


def _kept_secret(keep: Keep) -> str:
    return keep(f"{_SUPPLIER}.secret", lambda: os.urandom(32).hex())


class OperatorSimulator(Network):
    """One operator with one client, on the wire `http_json`."""

    WHAT_HAPPENS = WHAT_HAPPENS
    REFUSES = _REFUSES

    def __init__(self, *, secret: bytes, name: str = "northtel", **network: Any) -> None:
        super().__init__(name=name, **network)
        self._secret = secret
        self._reversing: set[str] = set()  # request ids
        self._stated: dict[tuple[str, int], list[dict[str, Any]]] = {}  # the rows that each transaction came to

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self.base_path)
        if own := self.page_or_truth(request):
            return own
        if not path.startswith(("/recharges", "/balance", "/transactions")):
            return Response(404, {"content-type": "text/plain"}, b"")
        stamp = request.headers.get("x-timestamp", "")
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        expected = self._mac(request.method, target, stamp, body=request.body)
        if not hmac.compare_digest(
            request.headers.get("x-signature", "").encode("utf-8", "replace"), expected.encode()
        ):
            return self._answer(request, 401, {"status": "refused", "code": "BAD_SIGNATURE"})
        if (
            not re.fullmatch(r"[0-9]{9,11}", stamp)
            or abs(self._now() - datetime.fromtimestamp(int(stamp), UTC)) > _SKEW
        ):
            return self._answer(request, 401, {"status": "refused", "code": "STALE_TIMESTAMP"})
        if request.method == "POST" and path == "/recharges":
            return await self._recharge(request)
        if request.method == "GET" and path == "/balance":
            currency = parse_qs(parts.query).get("currency", [""])[0]
            if currency != self.currency:
                return self._answer(request, 404, {"status": "refused", "code": "NO_SUCH_CURRENCY"})
            left = decimal_text(self.float_minor, currency)
            return self._answer(request, 200, {"balance": left, "currency": currency})
        if request.method == "GET" and path == "/transactions":
            return self._transactions(request, parse_qs(parts.query))
        if request.method == "POST" and (asked := re.fullmatch(r"/recharges/([^/]+)/reversals", path)):
            return self._reversal(request, unquote(asked[1]))
        if request.method == "GET" and path.startswith("/recharges/"):
            return self._inquire(request, unquote(path.removeprefix("/recharges/")))
        return self._answer(request, 404, {"status": "refused", "code": "NO_SUCH_PAGE"})

    async def _recharge(self, request: Request) -> Response:
        try:
            order = json.loads(request.body)
            request_id, msisdn = order["request_id"], order["msisdn"]
            face_minor = amount(order["face"], order["currency"]).minor
            usable = re.fullmatch(r"[0-9A-Za-z_.-]{1,64}", request_id) and re.fullmatch(r"[0-9]{8,15}", msisdn)
            if not usable or order["currency"] != self.currency:
                raise ValueError("unusable")
        except (ValueError, KeyError, TypeError, NotAnAmount):
            return self._answer(request, 400, {"status": "refused", "code": "BAD_REQUEST"})
        job, repeated = self.jobs.get(request_id), request_id in self.jobs
        if job is None:
            job = self.take(request_id, msisdn, face_minor)
        elif job.trouble == "duplicate" and self.dedups:
            return self._answer(request, 409, {"status": "refused", "code": "DUPLICATE_REFERENCE"}, job)
        elif not self.dedups:
            self.credit(job, face_minor)
        if self.hidden(job):
            raise NoAnswer("the answer was lost")
        return await self._troubled(request, job, "" if repeated else job.trouble)

    def _inquire(self, request: Request, request_id: str) -> Response:
        job = self.jobs.get(request_id)
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return Response(200, {"content-type": "text/html"}, b"<html><body>maintenance</body></html>")
        if job is None or self.hidden(job):
            return self._answer(request, 404, {"request_id": request_id, "status": "not_found"})
        return self._answer(request, 200, self._told(job), job)

    def _reversal(self, request: Request, request_id: str) -> Response:
        """Takes credit back, once for each reversal_id; what was spent is not there any more."""
        job = self.jobs.get(request_id)
        try:
            reversal_id = json.loads(request.body)["reversal_id"]
            usable = re.fullmatch(r"[0-9A-Za-z_.-]{1,64}", reversal_id)
        except (ValueError, KeyError, TypeError):
            usable = None
        if not usable:
            return self._answer(request, 400, {"status": "refused", "code": "BAD_REQUEST"}, job)
        said: dict[str, Any] = {"request_id": request_id, "reversal_id": reversal_id}
        if self.troubles.strikes("reversal_busy"):
            return self._answer(request, 200, said | {"status": "refused", "code": "BUSY"})
        if job is None or self.hidden(job) or job.status not in ("delivered", "reversed"):
            return self._answer(request, 200, said | {"status": "refused", "code": "NOT_DELIVERED"})
        if job.trouble == "spent":
            return self._answer(request, 200, said | {"status": "refused", "code": "CREDIT_SPENT"})
        if job.status == "delivered" and job.request_id not in self._reversing:
            if self.troubles.strikes("reversal_later"):
                self._reversing.add(job.request_id)
                self._schedule(8, lambda: self.reverse(job))
            else:
                self.take_back(job)
        if self.troubles.strikes("reversal_lost"):
            raise NoAnswer("the answer was lost")
        if job.status != "reversed":
            return self._answer(request, 200, said | {"status": "processing"})
        returned = decimal_text(self.cost(job.credited_minor), self.currency)
        said |= {"status": "reversed", "supplier_reference": job.reference, "returned": returned}
        return self._answer(request, 200, said | {"currency": self.currency})

    def _transactions(self, request: Request, query: dict[str, list[str]]) -> Response:
        """What left the float and came back in a span of time, a page at a time."""
        try:
            since, until = (datetime.fromtimestamp(int(query[end][0]), UTC) for end in ("since", "until"))
            after = int(query.get("after", ["0"])[0])
        except (KeyError, ValueError, OverflowError):
            return self._answer(request, 400, {"code": "BAD_REQUEST"})
        rows = [row for row in self.statement() if since <= datetime.fromisoformat(row["at"]) < until]
        page = rows[after : after + _PAGE]
        more = str(after + _PAGE) if after + _PAGE < len(rows) else ""
        return self._answer(request, 200, {"transactions": page, "next": more})

    def statement(self) -> list[dict[str, Any]]:
        """Every transaction as it is told: as it happened, but for trouble, which strikes each of them once."""
        for kind, happened in (("recharge", self.credits), ("reversal", self.reversals)):
            for n, one in enumerate(happened):
                if (kind, n) not in self._stated:
                    self._stated[kind, n] = self._state(kind, one)
        return [row for rows in self._stated.values() for row in rows]

    def _state(self, kind: str, one: Credit) -> list[dict[str, Any]]:
        cost_minor = self.cost(one.face_minor)
        row = {
            "kind": kind,
            "request_id": one.request_id,
            "supplier_reference": self.jobs[one.request_id].reference,
            "cost": decimal_text(cost_minor, self.currency),
            "currency": self.currency,
            "at": one.at.isoformat(),
        }
        if self.troubles.strikes("statement_omits"):
            return []
        if self.troubles.strikes("statement_dearer"):
            return [row | {"cost": decimal_text(cost_minor + 100, self.currency)}]
        if self.troubles.strikes("statement_stranger"):
            return [
                row,
                row
                | {
                    "request_id": f"x{one.request_id[:20]}",
                    "supplier_reference": f"X{self._dice.getrandbits(48):012x}",
                },
            ]
        return [row, row] if self.troubles.strikes("statement_twice") else [row]

    def _told(self, job: Job) -> dict[str, Any]:
        face = decimal_text(job.credited_minor or job.face_minor, self.currency)
        cost = decimal_text(self.cost(job.credited_minor), self.currency) if job.credited_minor else None
        if job.status in ("delivered", "partial") and not self.dedups:
            face, cost = decimal_text(min(job.credited_minor, job.face_minor), self.currency), None
        return {
            "request_id": job.request_id,
            "status": job.status,
            "code": job.code,
            "supplier_reference": job.reference,
            "msisdn": job.msisdn,
            "face": face,
            "currency": self.currency,
            "cost": cost,
        }

    async def _troubled(self, request: Request, job: Job, trouble: str) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        said = self._told(job)
        match trouble:
            case "slow":
                await self._sleep(10)
            case "lost" | "duplicate":
                raise NoAnswer("the answer was lost")
            case "odd_code":
                said |= {"status": "refused", "code": "E-4711"}
            case "html":
                return page_instead()
            case "wrong_amount":
                said["face"] = decimal_text(job.face_minor + 100, self.currency)
            case "wrong_number":
                said["msisdn"] = job.msisdn[:-1] + str((int(job.msisdn[-1]) + 1) % 10)
            case "huge":
                said["padding"] = "x" * (2 << 20)
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
        response = self._answer(request, 200, said, job)
        if trouble == "truncated":
            return Response(200, response.headers, response.body[: len(response.body) // 2])
        if trouble == "unsigned":
            return Response(200, {"content-type": "application/json"}, response.body)
        return response

    def announce(self, job: Job, status: str, after_s: float = 0.0) -> None:
        if not self.notify_url:
            return
        notice = {"id": f"nt_{self._dice.getrandbits(64):016x}", "request_id": job.request_id, "status": status}
        body = json.dumps(notice, separators=(",", ":")).encode()
        self.notify(lambda: self._notice(body), after_s)

    def _notice(self, body: bytes) -> Request:
        stamp = str(int(self._now().timestamp()))
        headers = {
            "content-type": "application/json",
            "x-timestamp": stamp,
            "x-signature": self._mac("notice", stamp, body=body),
        }
        return Request("POST", self.notify_url, headers, body)

    def _answer(self, request: Request, status: int, said: dict[str, Any], job: Job | None = None) -> Response:
        if job is not None:
            said = {"request_id": job.request_id, **said}
        body, stamp = json.dumps(said, separators=(",", ":")).encode(), str(int(self._now().timestamp()))
        headers = {
            "content-type": "application/json",
            "x-timestamp": stamp,
            "x-signature": self._mac(str(status), request.headers.get("x-signature", ""), stamp, body=body),
        }
        return Response(status, headers, body)

    def _mac(self, *lines: str, body: bytes) -> str:
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace") + body
        return hmac.new(self._secret, text, sha256).hexdigest()
