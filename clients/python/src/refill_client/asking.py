"""The two clients: the same calls, one that waits and one that is awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from refill_client import plans
from refill_client.plans import Patience, Plan
from refill_client.shapes import (
    Balance,
    Bulk,
    Number,
    Operator,
    Page,
    Product,
    Quote,
    Statement,
    TopUp,
    Transaction,
    Upload,
    Wish,
)

T = TypeVar("T")
TIMEOUT_S = 30.0
TRIES = 5
LOOK_S = (0.2, 5.0)  # between two looks at a top-up that is waited for: at first, and at most


def _pauses() -> Iterator[float]:
    pause, most = LOOK_S
    while True:
        yield pause
        pause = min(pause * 1.5, most)


def _wish(msisdn: str, amount: Decimal | str, currency: str, more: dict[str, Any]) -> Wish:
    return Wish(msisdn=msisdn, amount=plans.exact(amount), currency=currency, **more)


class Client:
    """Waits for each answer. `tries` is how often a request is sent before its outcome is called unknown."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float = TIMEOUT_S, tries: int = TRIES) -> None:
        self._api_key = api_key
        self._tries = tries
        self._http = httpx2.Client(base_url=url, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def _carry_out(self, plan: Plan[T]) -> T:
        patience = Patience(plan, self._tries)
        while True:
            try:
                answer = self._http.request(
                    plan.method, plan.path, params=plan.query, content=plan.body, headers=plan.headers(self._api_key)
                )
            except httpx2.HTTPError as lost:
                pause: float | None = patience.silence(type(lost).__name__)
            else:
                pause = patience.answer(answer.status_code, answer.headers, answer.content)
                if pause is None:
                    return plan.read(answer.content)
            time.sleep(pause or 0)

    def topup(
        self, msisdn: str, amount: Decimal | str, currency: str, *, idempotency_key: str | None = None, **more: Any
    ) -> TopUp:
        """Tops one number up; `more` are the other fields of a Wish. Raises Refused, Unknown."""
        return self._carry_out(plans.topup(_wish(msisdn, amount, currency, more), idempotency_key))

    def bulk(self, wishes: Iterable[Wish], *, idempotency_key: str | None = None) -> Bulk:
        """Up to a thousand at once, a result for each."""
        return self._carry_out(plans.bulk(wishes, idempotency_key))

    def get(self, id: str) -> TopUp:
        """A top-up as it stands."""
        return self._carry_out(plans.get(id))

    def by_reference(self, reference: str) -> TopUp:
        """A top-up by your own name for it."""
        return self._carry_out(plans.by_reference(reference))

    def cancel(self, id: str) -> TopUp:
        """Undoes a top-up that has not been sent yet."""
        return self._carry_out(plans.cancel(id))

    def wait(self, topup: TopUp, *, timeout_s: float = 60.0) -> TopUp:
        """The top-up when it is final, or as it stands when the time is over: look at `final`."""
        until = time.monotonic() + timeout_s
        for pause in _pauses():
            if topup.final or time.monotonic() >= until:
                break
            time.sleep(min(pause, max(0.0, until - time.monotonic())))
            topup = self.get(topup.id)
        return topup

    def topups(self, **filters: Any) -> Iterator[TopUp]:
        """All top-ups that fit, the latest first, page by page."""
        yield from self._walk(lambda cursor: plans.topups(**filters, cursor=cursor))

    def transactions(self, since: datetime | None = None, **filters: Any) -> Iterator[Transaction]:
        """All moves of the float that fit, the latest first."""
        yield from self._walk(lambda cursor: plans.transactions(**filters, **{"from": since}, cursor=cursor))

    def products(self, **filters: Any) -> Iterator[Product]:
        """Everything on sale that fits."""
        yield from self._walk(lambda cursor: plans.products(**filters, cursor=cursor))

    def _walk(self, plan: Any) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            page: Page[Any] = self._carry_out(plan(cursor))
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def upload(self, file: Path | bytes, *, idempotency_key: str | None = None) -> Upload:
        """Sends a CSV file of top-ups; it is worked off beside everything else."""
        content = file if isinstance(file, bytes) else file.read_bytes()
        return self._carry_out(plans.upload(content, idempotency_key))

    def progress(self, id: str) -> Upload:
        """How far a file is."""
        return self._carry_out(plans.progress(id))

    def wait_for_file(self, upload: Upload) -> Iterator[Upload]:
        """How far a file is, again and again until all of it is done."""
        pauses = _pauses()
        while upload.done_at is None:
            time.sleep(next(pauses))
            upload = self.progress(upload.id)
            yield upload

    def result(self, id: str) -> bytes:
        """The result file: a line for each of its lines."""
        return self._carry_out(plans.result(id))

    def quote(self, amount: Decimal | str, currency: str, **more: Any) -> Quote:
        """A price that holds for a while: `msisdn` or `operator`, and `product`, `lasts_s`."""
        return self._carry_out(plans.quote({"amount": plans.exact(amount), "currency": currency, **more}))

    def balance(self) -> Balance:
        """What is left of the float."""
        return self._carry_out(plans.balance())

    def operators(self) -> list[Operator]:
        """What is on sale by operator."""
        return self._carry_out(plans.operators())

    def number(self, msisdn: str) -> Number:
        """Whose a number is, as far as anybody knows."""
        return self._carry_out(plans.number(msisdn))

    def statement(
        self, since: date | None = None, until: date | None = None, time_zone: str | None = None
    ) -> Statement:
        """The float from day to day."""
        return self._carry_out(plans.statement(**{"from": since, "until": until, "time_zone": time_zone}))


class AsyncClient:
    """The same calls, awaited."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float = TIMEOUT_S, tries: int = TRIES) -> None:
        self._api_key = api_key
        self._tries = tries
        self._http = httpx2.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def _carry_out(self, plan: Plan[T]) -> T:
        patience = Patience(plan, self._tries)
        while True:
            try:
                answer = await self._http.request(
                    plan.method, plan.path, params=plan.query, content=plan.body, headers=plan.headers(self._api_key)
                )
            except httpx2.HTTPError as lost:
                pause: float | None = patience.silence(type(lost).__name__)
            else:
                pause = patience.answer(answer.status_code, answer.headers, answer.content)
                if pause is None:
                    return plan.read(answer.content)
            await asyncio.sleep(pause or 0)

    async def topup(
        self, msisdn: str, amount: Decimal | str, currency: str, *, idempotency_key: str | None = None, **more: Any
    ) -> TopUp:
        """Tops one number up; `more` are the other fields of a Wish. Raises Refused, Unknown."""
        return await self._carry_out(plans.topup(_wish(msisdn, amount, currency, more), idempotency_key))

    async def bulk(self, wishes: Iterable[Wish], *, idempotency_key: str | None = None) -> Bulk:
        """Up to a thousand at once, a result for each."""
        return await self._carry_out(plans.bulk(wishes, idempotency_key))

    async def get(self, id: str) -> TopUp:
        """A top-up as it stands."""
        return await self._carry_out(plans.get(id))

    async def by_reference(self, reference: str) -> TopUp:
        """A top-up by your own name for it."""
        return await self._carry_out(plans.by_reference(reference))

    async def cancel(self, id: str) -> TopUp:
        """Undoes a top-up that has not been sent yet."""
        return await self._carry_out(plans.cancel(id))

    async def wait(self, topup: TopUp, *, timeout_s: float = 60.0) -> TopUp:
        """The top-up when it is final, or as it stands when the time is over: look at `final`."""
        until = time.monotonic() + timeout_s
        for pause in _pauses():
            if topup.final or time.monotonic() >= until:
                break
            await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
            topup = await self.get(topup.id)
        return topup

    async def topups(self, **filters: Any) -> AsyncIterator[TopUp]:
        """All top-ups that fit, the latest first, page by page."""
        async for one in self._walk(lambda cursor: plans.topups(**filters, cursor=cursor)):
            yield one

    async def transactions(self, since: datetime | None = None, **filters: Any) -> AsyncIterator[Transaction]:
        """All moves of the float that fit, the latest first."""
        async for one in self._walk(lambda cursor: plans.transactions(**filters, **{"from": since}, cursor=cursor)):
            yield one

    async def products(self, **filters: Any) -> AsyncIterator[Product]:
        """Everything on sale that fits."""
        async for one in self._walk(lambda cursor: plans.products(**filters, cursor=cursor)):
            yield one

    async def _walk(self, plan: Any) -> AsyncIterator[Any]:
        cursor: str | None = None
        while True:
            page: Page[Any] = await self._carry_out(plan(cursor))
            for one in page.items:
                yield one
            cursor = page.next
            if cursor is None:
                return

    async def upload(self, file: Path | bytes, *, idempotency_key: str | None = None) -> Upload:
        """Sends a CSV file of top-ups; it is worked off beside everything else."""
        content = file if isinstance(file, bytes) else await asyncio.to_thread(file.read_bytes)
        return await self._carry_out(plans.upload(content, idempotency_key))

    async def progress(self, id: str) -> Upload:
        """How far a file is."""
        return await self._carry_out(plans.progress(id))

    async def wait_for_file(self, upload: Upload) -> AsyncIterator[Upload]:
        """How far a file is, again and again until all of it is done."""
        pauses = _pauses()
        while upload.done_at is None:
            await asyncio.sleep(next(pauses))
            upload = await self.progress(upload.id)
            yield upload

    async def result(self, id: str) -> bytes:
        """The result file: a line for each of its lines."""
        return await self._carry_out(plans.result(id))

    async def quote(self, amount: Decimal | str, currency: str, **more: Any) -> Quote:
        """A price that holds for a while: `msisdn` or `operator`, and `product`, `lasts_s`."""
        return await self._carry_out(plans.quote({"amount": plans.exact(amount), "currency": currency, **more}))

    async def balance(self) -> Balance:
        """What is left of the float."""
        return await self._carry_out(plans.balance())

    async def operators(self) -> list[Operator]:
        """What is on sale by operator."""
        return await self._carry_out(plans.operators())

    async def number(self, msisdn: str) -> Number:
        """Whose a number is, as far as anybody knows."""
        return await self._carry_out(plans.number(msisdn))

    async def statement(
        self, since: date | None = None, until: date | None = None, time_zone: str | None = None
    ) -> Statement:
        """The float from day to day."""
        return await self._carry_out(plans.statement(**{"from": since, "until": until, "time_zone": time_zone}))
