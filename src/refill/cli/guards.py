"""What holds selling back: listed numbers, limits, and exchange rates that somebody must tell."""

import getpass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cyclopts import App

from refill.cli import whose
from refill.cli.shared import Data, in_house, settings_of
from refill.errors import BadInput

numbers = App(name="numbers", help="Numbers: whose they are, and which are refused or always served.")
numbers.command(whose.operator)
limits = App(name="limits", help="How many top-ups, and how much, in an hour, day, week or month.")
rates = App(name="rates", help="Exchange rates of suppliers that bill in another currency.")


# ------------------------------------------------------------------ numbers


@numbers.command
def block(number: str, /, *, why: str, scope: str = "all", until: str | None = None, data: Data = None) -> int:
    """Refuses a number: `refill numbers block "138 0013 8000" --why "case 17" --until 2026-12-31T00:00:00+08:00`.

    `--scope operator:cmcc`, `product:cmcc-50` or `partner:pa_…` narrows it. Whole numbers only: prefixes are ported.
    """
    return _put("block", number, scope, why, until, data)


@numbers.command
def allow(number: str, /, *, why: str, scope: str = "all", until: str | None = None, data: Data = None) -> int:
    """Always serves a number, beyond wider blocks and every limit."""
    return _put("allow", number, scope, why, until, data)


@numbers.command
def lift(number: str, /, *, why: str, scope: str = "all", data: Data = None) -> int:
    """Takes a number off the list again."""
    return _put("lift", number, scope, why, None, data)


def _put(kind: str, number: str, scope: str, why: str, until: str | None, data: Any) -> int:
    from refill.catalogue.rates import moment
    from refill.numbers import lists

    msisdn, end = lists.whole_number(number), moment(until) if until else None

    async def run(house: Any) -> int:
        vault, now = house.trade.vault, house.world.db_now()
        await house.pool.transaction(
            lambda tx: lists.put(
                tx, vault, msisdn, kind, where=scope, reason=why, who=getpass.getuser(), now=now, until=end
            )
        )
        says = {"block": "is refused", "allow": "is always served", "lift": "is off the list"}[kind]
        print(f"{msisdn.masked()} {says} ({scope}){f' until {until}' if until else ''}; all doors know within seconds.")
        return 0

    return in_house(settings_of(data), run)


@numbers.command(name="list")
def list_numbers(*, data: Data = None) -> int:
    """The lines in force, the latest first; numbers are shown masked."""
    from refill import numbers as numbers_
    from refill.numbers import lists

    async def run(house: Any) -> int:
        vault, now = house.trade.vault, house.world.db_now()

        async def look(tx: Any) -> tuple[Any, Any]:
            found = await lists.listing(tx, now)
            return found, await numbers_.reveal(tx, vault, sorted({line.number for line in found}))

        found, known = await house.pool.transaction(look)
        for line in found:
            shown = known[line.number].masked() if line.number in known else "erased"
            end = f"until {line.until:%Y-%m-%d %H:%M} UTC" if line.until else "for good"
            print(f"{line.kind:5}  {shown:14}  {line.scope:24} {end:26} {line.who}: {line.reason}")
        return 0

    return in_house(settings_of(data), run)


# ------------------------------------------------------------------ limits


@limits.command
def add(
    *,
    per: str = "number",
    period: str = "day",
    zone: str = "Asia/Shanghai",
    count: int | None = None,
    amount: str | None = None,
    currency: str = "CNY",
    why: str,
    operator: str | None = None,
    product: str | None = None,
    supplier: str | None = None,
    channel: str | None = None,
    payer: str | None = None,
    data: Data = None,
) -> int:
    """Sets a limit: `refill limits add --per number --count 10 --amount 80.00 --currency EUR --supplier dtone --why …`.

    `--per` may name several of number, payer, product, operator, channel; the others narrow whom it concerns.
    """
    from refill.money import Money
    from refill.money import amount as read_amount
    from refill.topup import limits as limits_

    most = None
    if amount is not None:
        most = Money(0, currency) if amount.strip("0.") == "" else read_amount(amount, currency)

    async def run(house: Any) -> int:
        made = await house.pool.transaction(
            lambda tx: limits_.make(
                tx,
                house.world,
                per=per,
                period=period,
                zone=zone,
                most_count=count,
                most=most,
                reason=why,
                who=getpass.getuser(),
                operator=operator,
                product=product,
                supplier=supplier,
                channel=channel,
                payer=payer,
            )
        )
        print(f"{made.id} counts from now on; all doors know within seconds.")
        return 0

    return in_house(settings_of(data), run)


@limits.command
def end(limit_id: str, /, *, data: Data = None) -> int:
    """Ends a limit."""
    from refill.topup import limits as limits_

    async def run(house: Any) -> int:
        now = house.world.db_now()
        await house.pool.transaction(lambda tx: limits_.end(tx, limit_id, getpass.getuser(), now))
        print(f"{limit_id} has ended.")
        return 0

    return in_house(settings_of(data), run)


@limits.command(name="list")
def list_limits(*, data: Data = None) -> int:
    """The limits in force, each with its fullest count in the present period."""
    from refill.topup import limits as limits_

    async def run(house: Any) -> int:
        now = house.world.db_now()
        for limit, count, minor in await house.pool.transaction(lambda tx: limits_.in_force(tx, now)):
            print(
                f"{limit.id}  {limits_.told(limit)}; fullest now: {limits_.fullest(limit, count, minor)}. {limit.reason}"
            )
        return 0

    return in_house(settings_of(data), run)


# ------------------------------------------------------------------ rates


@rates.command
def tell(
    base: str,
    quote: str,
    rate: str,
    /,
    *,
    source: str,
    until: str | None = None,
    since: str | None = None,
    anyway: bool = False,
    data: Data = None,
) -> int:
    """Tells a rate: `refill rates tell USD CNY 7.1834 --source "our bank"`: a dollar is 7.1834 yuan, for a day from now.

    `--since` and `--until 2026-11-24T00:00:00+08:00` say otherwise. `--anyway` when it really moved by more than 10 %.
    """
    from refill.catalogue import rates as rates_

    async def run(house: Any) -> int:
        now: datetime = house.world.db_now()
        begins = rates_.moment(since) if since else now
        ends = rates_.moment(until) if until else begins + timedelta(days=1)
        told = rates_.rate(base, quote, rate, valid_from=begins, valid_until=ends, source=source)
        await house.pool.transaction(lambda tx: rates_.tell(tx, [told], getpass.getuser(), now, anyway=anyway))
        print(f"1 {base} is {told.text()} {quote} from {begins:%Y-%m-%d %H:%M} until {ends:%Y-%m-%d %H:%M} UTC.")
        return 0

    return in_house(settings_of(data), run)


@rates.command(name="import")
def import_rates(file: Path, /, *, anyway: bool = False, data: Data = None) -> int:
    """Takes a CSV file with the columns base,quote,rate,valid_from,valid_until,source; all of its rates, or none."""
    from refill.catalogue import rates as rates_

    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}.") from None

    async def run(house: Any) -> int:
        now = house.world.db_now()
        told = rates_.read_csv(lines, now)
        new = await house.pool.transaction(lambda tx: rates_.tell(tx, told, getpass.getuser(), now, anyway=anyway))
        print(f"{new} of {len(told)} rates are new.")
        return 0

    return in_house(settings_of(data), run)


@rates.command(name="list")
def list_rates(*, data: Data = None) -> int:
    """What was told, the latest of each pair first; `!` marks what something on sale needs and has no rate for."""
    from refill.catalogue import rates as rates_

    async def run(house: Any) -> int:
        on_sale, now = house.trade.shelf.catalogue, house.world.db_now()
        for base, quote in sorted(on_sale.abroad()):
            if not on_sale.rates.has(base, quote, now):
                print(f"! {base}/{quote}: no rate at present; what is billed in {base} is not sold")
        for row in await house.pool.transaction(rates_.listing):
            one = row.rate
            span = f"{one.valid_from:%Y-%m-%d %H:%M} to {one.valid_until:%Y-%m-%d %H:%M} UTC"
            print(f"{one.base}/{one.quote}  {one.text():>16}  {span}  {one.source} ({row.who})")
        return 0

    return in_house(settings_of(data), run)
