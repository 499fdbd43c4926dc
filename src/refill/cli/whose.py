"""Whose a number is, from the command line: what is known of it, and a person's decision."""

import getpass
from typing import Any

from refill.cli.shared import Data, in_house, settings_of


def operator(
    number: str,
    operator: str | None = None,
    /,
    *,
    why: str = "",
    until: str | None = None,
    end: bool = False,
    data: Data = None,
) -> int:
    """Tells whose a number is; with an operator, decides it: `refill numbers operator "138 0013 8000" ctcc --why "case 9"`.

    `--until 2027-01-31T00:00:00+08:00` ends it by itself, `--end` at once. It counts more than outcomes, look-ups and the
    prefix, not more than what a payer chooses. Nobody is asked; `refill up` asks look-ups when a payer types the number.
    """
    from refill import numbers
    from refill.catalogue.rates import moment
    from refill.errors import BadInput
    from refill.topup import whose

    msisdn = numbers.typed_msisdn(number)
    last = moment(until) if until else None
    if end and operator:
        raise BadInput("Name an operator, or say --end; not both.")

    async def run(house: Any) -> int:
        trade, now, who = house.trade, house.world.db_now(), getpass.getuser()
        index = numbers.number_id(trade.vault, msisdn)
        if operator:
            trade.shelf.catalogue.operator(operator)
            await house.pool.transaction(
                lambda tx: numbers.decide(tx, index, operator, why=why, who=who, now=now, until=last)
            )
        if end:
            await house.pool.transaction(lambda tx: numbers.undecide(tx, index, who=who, now=now))
        told = await whose.whose(trade, msisdn, ask=False)
        source = told.belief.source or "nobody knows"
        at = f" since {told.belief.at:%Y-%m-%d %H:%M} UTC" if told.belief.at else ""
        doubt = ", doubted" if told.belief.doubted else ""
        print(f"{msisdn.masked()}  {told.operator or '?'}  ({source}{at}{doubt})")
        for each in await house.pool.transaction(lambda tx: numbers.overrides(tx, index)):
            ended = each.ended_at or each.until
            over = f"until {ended:%Y-%m-%d %H:%M} UTC" if ended else "for good"
            print(f"  {each.since:%Y-%m-%d %H:%M} UTC  {each.operator}  {over}  {each.who}: {each.why}")
        return 0

    return in_house(settings_of(data), run)
