"""What operators' far ends share: our float there, recharges as they are kept, what truly happened, trouble by number.

A far end adds its wire: it takes a recharge with `take`, tells of it as it likes, and may announce what became of it.
What truly happened stands in plain attributes: `credits`, `reversals`, `refused`, `float_minor`; from another process,
in `GET /truth`, and beside each request for people at `/did` (`/did.json`). `POST /float` with `amount=500.00` pays into
our float; `POST /troubles` with `name=lost&times=1` plans trouble; the page at `/` tells what a number does.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from importlib.resources import files
from random import Random
from string import Template
from typing import ClassVar, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.trouble import BY_SUFFIX, PROFILES, Post, Schedule, Sleep, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

_REPEATS_S = (5, 30, 300)
MOST_SHOWN = 500  # requests


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
    seen_from: datetime | None = None  # until then nobody there has heard of it


class Network:
    """One operator with one client. It keeps a second request with the same id as the first, unless `dedups` is off."""

    WHAT_HAPPENS: ClassVar[Mapping[str, str]]  # trouble -> what it is, for people; only these happen here
    REFUSES: ClassVar[Mapping[str, str]]  # trouble -> the code with which this wire refuses

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        name: str,
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
        self.name, self.base_path = name, urlsplit(base_url).path.rstrip("/")
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.notify_url, self.float_minor, self.currency = notify_url, float_minor, currency
        self.cost_per_mille, self.dedups = cost_per_mille, dedups
        self.delay_s = delay_s  # from asking to crediting; (0, 0) answers at once and finally
        self.latest_s = latest_s  # how much later than asked a "hidden" recharge may land
        self.by_suffix = {end: what for end, what in by_suffix.items() if what in self.WHAT_HAPPENS}
        self.troubles = Troubles(dice, chances)
        self.jobs: dict[str, Job] = {}
        self.credits: list[Credit] = []
        self.reversals: list[Credit] = []
        self.refused: list[str] = []  # request ids
        self.filled: list[tuple[int, datetime]] = []  # what was paid into our float, in minor units
        self.profile = "calm"

    def page_or_truth(self, request: Request) -> Response | None:
        """What every operator answers beside its wire: the page for people, `/truth` and `/troubles`."""
        path = urlsplit(request.url).path.removeprefix(self.base_path)
        if request.method == "GET" and path in ("", "/"):
            return self._page()
        if (request.method, path) in (("GET", "/did"), ("GET", "/did.json")):
            return self._did_page() if path == "/did" else self.did()
        if (request.method, path) == ("POST", "/float"):
            return self._fill(request.body)
        if (request.method, path) == ("POST", "/troubles"):
            return self.troubles.ordered(request.body)
        if (request.method, path) == ("GET", "/truth"):
            credits, reversals = [one._asdict() for one in self.credits], [one._asdict() for one in self.reversals]
            return truth(credits=credits, reversals=reversals, refused=self.refused, float_minor=self.float_minor)
        return None

    def take(self, request_id: str, msisdn: str, face_minor: int) -> Job:
        """Keeps a new recharge, and carries it out now or later."""
        trouble = self.by_suffix.get(msisdn[-4:], "") or self.troubles.one_of(tuple(self.WHAT_HAPPENS))
        reference = f"{self.name[:1].upper()}{self._dice.getrandbits(48):012x}"
        job = self.jobs[request_id] = Job(request_id, msisdn, face_minor, trouble, reference)
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

    def hidden(self, job: Job) -> bool:
        """Has nobody there heard of it yet?"""
        return job.seen_from is not None and self._now() < job.seen_from

    async def _finish_later(self, job: Job) -> None:
        if job.status == "processing":
            self._finish(job)

    def _finish(self, job: Job) -> None:
        code = self.REFUSES["refused" if job.trouble == "fails_later" else job.trouble] if self._refuses(job) else ""
        face_minor = max(job.face_minor // 2, 1) if job.trouble == "partial" else job.face_minor
        if not code and not self.credit(job, face_minor):
            code = self.REFUSES["empty_float"]
        if code:
            job.status, job.code = "refused", code
            self.refused.append(job.request_id)
        else:
            job.status = "partial" if face_minor < job.face_minor else "delivered"
        self.announce(job, job.status)
        if job.trouble == "contradicts":
            self.announce(job, "refused", after_s=2)
        if job.trouble == "reversed":
            self._schedule(20, lambda: self.reverse(job))

    def _refuses(self, job: Job) -> bool:
        return job.trouble == "fails_later" or job.trouble in self.REFUSES

    def credit(self, job: Job, face_minor: int) -> bool:
        """Credit reaches the telephone and leaves the float. False when the float is too low."""
        cost_minor = self.cost(face_minor)
        if self.float_minor < cost_minor:
            return False
        self.float_minor -= cost_minor
        job.credited_minor += face_minor
        self.credits.append(Credit(job.request_id, job.msisdn, face_minor, self._now()))
        return True

    async def reverse(self, job: Job) -> None:
        """Takes the credit back, if that was not done before."""
        if job.status != "reversed":
            self.take_back(job)

    def take_back(self, job: Job) -> None:
        """Takes the credit back, and tells."""
        self.float_minor += self.cost(job.credited_minor)
        self.reversals.append(Credit(job.request_id, job.msisdn, job.credited_minor, self._now()))
        job.status = "reversed"
        self.announce(job, job.status)

    def cost(self, face_minor: int) -> int:
        """What a recharge takes from the float."""
        return -(-face_minor * self.cost_per_mille // 1000)

    def announce(self, job: Job, status: str, after_s: float = 0.0) -> None:
        """Tells the client what became of a recharge; a wire without notices tells nothing."""

    def notify(self, make: Callable[[], Request], after_s: float = 0.0) -> None:
        """Sends a notice, made anew each time, until it is answered 2xx, four times at most; late, lost or twice by trouble."""
        if self.troubles.strikes("late_notice"):
            after_s += self._dice.uniform(0, 300)
        self._schedule(after_s, lambda: self._deliver(make, 0))

    async def _deliver(self, make: Callable[[], Request], repeat: int) -> None:
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            notice = make()
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(notice)
                    accepted = accepted or 200 <= answer.status < 300
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(_REPEATS_S):
            self._schedule(_REPEATS_S[repeat], lambda: self._deliver(make, repeat + 1))

    def did(self) -> Response:
        """What truly happened to every request, beside what it met: for staff to compare with our own pages."""
        rows = [
            {
                "request_id": job.request_id,
                "number": f"{job.msisdn[:-8]}****{job.msisdn[-4:]}",
                "asked": decimal_text(job.face_minor, self.currency),
                "credited": decimal_text(job.credited_minor, self.currency),
                "taken": decimal_text(self.cost(job.credited_minor) if job.credited_minor else 0, self.currency),
                "status": job.status,
                "code": job.code,
                "reference": job.reference,
                "trouble": job.trouble,
            }
            for job in self.jobs.values()
        ]
        return truth(
            profile=self.profile,
            currency=self.currency,
            float=decimal_text(self.float_minor, self.currency),
            filled=[{"amount": decimal_text(minor, self.currency), "at": at} for minor, at in self.filled],
            struck=dict(self.troubles.struck),
            requests=rows,
        )

    def _did_page(self) -> Response:
        told = json.loads(self.did().body)
        columns = ("request_id", "number", "asked", "credited", "taken", "status", "code", "trouble")
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(str(row[column])) or '—'}</td>" for column in columns) + "</tr>"
            for row in reversed(told["requests"][-MOST_SHOWN:])
        )
        struck = ", ".join(f"{escape(name)} {count}" for name, count in sorted(told["struck"].items()) if count)
        page = Template(files("refill.simulators").joinpath("pages", "did.html").read_text("utf-8")).substitute(
            name=self.name,
            profile=self.profile,
            says=PROFILES[self.profile].says,
            currency=self.currency,
            left=told["float"],
            struck=struck or "none yet",
            count=len(told["requests"]),
            rows=rows,
        )
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, page.encode())

    def _fill(self, body: bytes) -> Response:
        """`POST /float` with amount=500.00 pays into our float."""
        try:
            paid = amount(dict(parse_qsl(body.decode("ascii", "replace"))).get("amount"), self.currency)
        except NotAnAmount:
            return Response(422, {"content-type": "text/plain"}, b"Send amount=500.00.")
        self.float_minor += paid.minor
        self.filled.append((paid.minor, self._now()))
        return Response(303, {"location": f"{self.base_path}/did"}, b"")

    def _page(self) -> Response:
        happens = self.WHAT_HAPPENS
        rows = "".join(f"<tr><td>…{end}</td><td>{happens[what]}</td></tr>" for end, what in self.by_suffix.items())
        page = Template(files("refill.simulators").joinpath("pages", "operator.html").read_text("utf-8")).substitute(
            name=self.name,
            currency=self.currency,
            left=decimal_text(self.float_minor, self.currency),
            credits=len(self.credits),
            rows=rows,
        )
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, page.encode())


def page_instead() -> Response:
    """An answer that is a page for people, as a proxy or a portal sends it."""
    return Response(200, {"content-type": "text/html"}, b"<html><body>Welcome to the portal</body></html>")
