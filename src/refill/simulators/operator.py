"""An operator's end of the wire `http_json`: a prepaid float, recharges, inquiries, callbacks, and trouble by number.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from random import Random
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.trouble import BY_SUFFIX, Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

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
}
_REFUSES = {
    "refused": "NUMBER_BARRED",
    "not_ours": "NOT_OUR_SUBSCRIBER",
    "empty_float": "INSUFFICIENT_FLOAT",
    "busy": "BUSY",
}
_REPEATS_S = (5, 30, 300)
_SKEW = timedelta(minutes=5)


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


class Credit(NamedTuple):
    """Credit that a telephone truly got, or that was truly taken back from it."""

    request_id: str
    msisdn: str
    face_minor: int
    at: datetime


@dataclass
class Job:
    """One recharge as the operator keeps it."""

    request_id: str
    msisdn: str
    face_minor: int  # asked for
    trouble: str
    reference: str
    status: str = "processing"
    code: str = ""
    credited_minor: int = 0
    seen_from: datetime | None = None  # until then an inquiry says not_found


class OperatorSimulator:
    """One operator with one client. It keeps a second request with the same id as the first, unless `dedups` is off."""

    def __init__(
        self,
        *,
        secret: bytes,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        name: str = "northtel",
        base_url: str = "",
        notify_url: str = "",
        float_minor: int = 10**9,
        currency: str = "CNY",
        cost_per_mille: int = 985,
        dedups: bool = True,
        delay_s: tuple[float, float] = (0.0, 0.0),
        latest_s: float = 60.0,
        by_suffix: Mapping[str, str] = BY_SUFFIX,
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._secret, self.name, self.base_path = secret, name, urlsplit(base_url).path.rstrip("/")
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.notify_url, self.float_minor, self.currency = notify_url, float_minor, currency
        self.cost_per_mille, self.dedups = cost_per_mille, dedups
        self.delay_s = delay_s  # from asking to crediting; (0, 0) answers at once and finally
        self.latest_s = latest_s  # how much later than asked a "hidden" recharge may land
        self.by_suffix = by_suffix
        self.troubles = Troubles(dice, chances)
        self.jobs: dict[str, Job] = {}
        self.credits: list[Credit] = []
        self.reversals: list[Credit] = []
        self.refused: list[str] = []  # request ids

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self.base_path)
        if request.method == "GET" and path in ("", "/"):
            return self._page()
        if (request.method, path) == ("POST", "/troubles"):
            return self.troubles.ordered(request.body)
        if (request.method, path) == ("GET", "/truth"):
            credits, reversals = [one._asdict() for one in self.credits], [one._asdict() for one in self.reversals]
            return truth(credits=credits, reversals=reversals, refused=self.refused, float_minor=self.float_minor)
        if not path.startswith(("/recharges", "/balance")):
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
            job = self.jobs[request_id] = self._take(request_id, msisdn, face_minor)
        elif job.trouble == "duplicate" and self.dedups:
            return self._answer(request, 409, {"status": "refused", "code": "DUPLICATE_REFERENCE"}, job)
        elif not self.dedups:
            self._credit(job, face_minor)
        if job.seen_from and self._now() < job.seen_from:
            raise NoAnswer("the answer was lost")
        return await self._troubled(request, job, "" if repeated else job.trouble)

    def _take(self, request_id: str, msisdn: str, face_minor: int) -> Job:
        """Keeps a new recharge, and carries it out now or later."""
        trouble = self.by_suffix.get(msisdn[-4:], "") or self.troubles.one_of(tuple(WHAT_HAPPENS))
        reference = f"{self.name[:1].upper()}{self._dice.getrandbits(48):012x}"
        job = Job(request_id, msisdn, face_minor, trouble, reference)
        delay_s = self._dice.uniform(*self.delay_s) if self.delay_s[1] else 0.0
        match trouble:
            case "silent":
                return job
            case "hidden":
                delay_s = self.latest_s if self.by_suffix.get(msisdn[-4:]) else self._dice.uniform(1, self.latest_s)
                job.seen_from = self._now() + timedelta(seconds=delay_s)
            case "later" | "fails_later":
                delay_s += 8
        if delay_s:
            self._schedule(delay_s, lambda: self._finish_later(job))
        else:
            self._finish(job)
        return job

    async def _finish_later(self, job: Job) -> None:
        self._finish(job)

    def _finish(self, job: Job) -> None:
        code = "NUMBER_BARRED" if job.trouble == "fails_later" else _REFUSES.get(job.trouble, "")
        face_minor = max(job.face_minor // 2, 1) if job.trouble == "partial" else job.face_minor
        if not code and not self._credit(job, face_minor):
            code = "INSUFFICIENT_FLOAT"
        if code:
            job.status, job.code = "refused", code
            self.refused.append(job.request_id)
        else:
            job.status = "partial" if face_minor < job.face_minor else "delivered"
        self._announce(job, job.status)
        if job.trouble == "contradicts":
            self._announce(job, "refused", after_s=2)
        if job.trouble == "reversed":
            self._schedule(20, lambda: self._reverse(job))

    def _credit(self, job: Job, face_minor: int) -> bool:
        """Credit reaches the telephone and leaves the float. False when the float is too low."""
        cost_minor = self._cost(face_minor)
        if self.float_minor < cost_minor:
            return False
        self.float_minor -= cost_minor
        job.credited_minor += face_minor
        self.credits.append(Credit(job.request_id, job.msisdn, face_minor, self._now()))
        return True

    async def _reverse(self, job: Job) -> None:
        self.float_minor += self._cost(job.credited_minor)
        self.reversals.append(Credit(job.request_id, job.msisdn, job.credited_minor, self._now()))
        job.status = "reversed"
        self._announce(job, job.status)

    def _cost(self, face_minor: int) -> int:
        return -(-face_minor * self.cost_per_mille // 1000)

    def _inquire(self, request: Request, request_id: str) -> Response:
        job = self.jobs.get(request_id)
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return Response(200, {"content-type": "text/html"}, b"<html><body>maintenance</body></html>")
        if job is None or (job.seen_from and self._now() < job.seen_from):
            return self._answer(request, 404, {"request_id": request_id, "status": "not_found"})
        return self._answer(request, 200, self._told(job), job)

    def _told(self, job: Job) -> dict[str, Any]:
        face = decimal_text(job.credited_minor or job.face_minor, self.currency)
        cost = decimal_text(self._cost(job.credited_minor), self.currency) if job.credited_minor else None
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
                return Response(200, {"content-type": "text/html"}, b"<html><body>Welcome to the portal</body></html>")
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

    def _announce(self, job: Job, status: str, after_s: float = 0.0) -> None:
        if not self.notify_url:
            return
        notice = {"id": f"nt_{self._dice.getrandbits(64):016x}", "request_id": job.request_id, "status": status}
        body = json.dumps(notice, separators=(",", ":")).encode()
        if self.troubles.strikes("late_notice"):
            after_s += self._dice.uniform(0, 300)
        self._schedule(after_s, lambda: self._deliver(body, 0))

    async def _deliver(self, body: bytes, repeat: int) -> None:
        """Sends one notice, and again until somebody answers 2xx or we give up."""
        stamp = str(int(self._now().timestamp()))
        headers = {
            "content-type": "application/json",
            "x-timestamp": stamp,
            "x-signature": self._mac("notice", stamp, body=body),
        }
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(Request("POST", self.notify_url, headers, body))
                    accepted = accepted or 200 <= answer.status < 300
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(_REPEATS_S):
            self._schedule(_REPEATS_S[repeat], lambda: self._deliver(body, repeat + 1))

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

    def _page(self) -> Response:
        rows = "".join(f"<tr><td>…{end}</td><td>{WHAT_HAPPENS[what]}</td></tr>" for end, what in self.by_suffix.items())
        page = Template(files("refill.simulators").joinpath("pages", "operator.html").read_text("utf-8")).substitute(
            name=self.name,
            currency=self.currency,
            left=decimal_text(self.float_minor, self.currency),
            credits=len(self.credits),
            rows=rows,
        )
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, page.encode())
