"""The books: check all of them, and reconcile them with payment firms and the bank."""

import os
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from cyclopts import App

from refill.cli.shared import Data, in_house, progress_bar, run_with, settings_of
from refill.errors import BadInput

reconcile = App(name="reconcile", help="Our book against the payment firms' statements.")


def check(*, data: Data = None) -> int:
    """Replays the whole book and verifies what must always hold; exit code 1 when anything is found."""
    from refill.db import Pool
    from refill.topup.check import check as check_all

    async def run(dsn: str) -> int:
        pool = await Pool(dsn, size=1, scans=True).open()
        try:
            with progress_bar() as bar:
                task = bar.add_task("checking", total=None)
                findings = await check_all(pool, lambda done, total: bar.update(task, completed=done, total=total))
        finally:
            await pool.close()
        for finding in findings:
            print(finding)
        print(f"{len(findings)} findings" if findings else "The book is clean: I1, I4, I5, I8 and I14 hold.")
        return 1 if findings else 0

    return run_with(settings_of(data), run)


@reconcile.default
def take(method: str, file: Path, /, *, day: str | None = None, data: Data = None) -> int:
    """Takes a payment firm's statement: `refill reconcile alipay bill.zip`; exit code 1 when something does not match.

    The statement's totals must be the sums of its rows, or nothing of it is taken. `--day 2026-11-22` names the business
    day of a statement without rows.
    """
    from refill import reconcile
    from refill.db.bulk import Bulk

    async def run(house: Any) -> int:
        with _opened(file) as lines, progress_bar() as bar:
            task = bar.add_task("reading", total=lines.seek(0, os.SEEK_END))
            result = await reconcile.take(
                house.trade,
                Bulk(house.dsn),
                method,
                lines,
                day=_day(day) if day else None,
                progress=lambda rows: bar.update(task, completed=lines.tell(), description=f"{rows:,} rows"),
            )
        again = " (this file was taken before; that was the answer)" if result.again else ""
        print(f"{result.method} {result.day}: {result.matched:,} of {result.lines:,} rows match{again}")
        gaps = {name: getattr(result, name) for name in reconcile.BUCKETS}
        if any(gaps.values()):
            named = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in gaps.items() if count)
            print(f"Not: {named}; {result.carried:,} belong into a later statement.")
            await _tell_waiting(house, result.method, result.day)
        return 1 if any(gaps.values()) else 0

    return in_house(settings_of(data), run)


async def _tell_waiting(house: Any, method: str, day: date) -> None:
    from refill import reconcile

    found = await house.pool.transaction(lambda tx: reconcile.find(tx, method, day))
    print(f"{found.waiting:,} wait for a person: {house.settings.public_url}/staff/reconcile/{method}/{day}")


@reconcile.command
def days(*, method: str | None = None, data: Data = None) -> int:
    """Lists the latest business days and what waits in them."""
    from refill import reconcile

    async def run(house: Any) -> int:
        for day in await house.pool.transaction(lambda tx: reconcile.latest(tx, method=method)):
            gaps = f"{day.ours_only + day.theirs_only + day.differs + day.duplicate:,} open, {day.waiting:,} waiting"
            lines = "no statement" if day.lines is None else f"{day.matched:,} of {day.lines:,} rows match"
            print(f"{day.day}  {day.method:12} {day.state:7} {lines}; {gaps}")
        return 0

    return in_house(settings_of(data), run)


@reconcile.command
def close(method: str, day: str, /, *, data: Data = None) -> int:
    """Closes a business day and posts what the firm kept; a closed day does not change."""
    from refill import reconcile

    async def run(house: Any) -> int:
        now = house.world.db_now()
        closed = await house.pool.transaction(
            lambda tx: reconcile.close(tx, method, _day(day), reconcile.OPERATOR, now)
        )
        print(f"{closed.method} {closed.day} is closed, by {closed.closed_by}")
        return 0

    return in_house(settings_of(data), run)


@reconcile.command
def settle(
    method: str,
    day: str,
    amount: str,
    /,
    *,
    currency: str = "CNY",
    bank: str = "main",
    data: Data = None,
) -> int:
    """Posts what the bank got for a day: `refill reconcile settle alipay 2026-11-22 9890.30`. Twice is once."""
    from refill import reconcile
    from refill.money import amount as read_amount

    async def run(house: Any) -> int:
        now, got = house.world.db_now(), read_amount(amount, currency)

        async def both(tx: Any) -> None:
            await reconcile.enter(tx, method, _day(day), got, reconcile.OPERATOR, now, bank=bank)
            await reconcile.confirm(tx, method, _day(day), got, reconcile.OPERATOR, now)

        await house.pool.transaction(both)
        print(f"{got} of {method} for {day} stand at bank:{bank}")
        return 0

    return in_house(settings_of(data), run)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text[:20]!r} is not a day; write it as 2026-11-22.") from None


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}.") from None
