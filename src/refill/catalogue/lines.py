"""One row of a price list, theirs or ours: what it prices, at how much, from when to when; or what is wrong with it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from refill.catalogue.sheets import Cells, Wrong
from refill.db import Row
from refill.errors import NotAnAmount
from refill.money import EXPONENT, amount
from refill.operators import PriceLine

ZONE = timezone(timedelta(hours=8))  # of times that name none: days of business are China's
COSTS = (
    "operator",
    "supplier_product",
    "product",
    "name",
    "face",
    "max_face",
    "currency",
    "cost",
    "max_cost",
    "cost_currency",
    "valid_from",
    "valid_until",
)
PRICES = ("operator", "product", "tier", "channel", "partner", "price", "bp", "valid_from", "valid_until")
NEEDED = {"cost": ("operator", "face", "cost"), "price": ("operator",)}
COLUMNS = {"cost": COSTS, "price": PRICES}

SENTENCES = {
    "cells": "The row has {what} cells, more than the first line names.",
    "cell": "A cell holds {what}, which is neither text, a number nor a day.",
    "formula": "A cell begins like a formula ({what}); write the value itself.",
    "long": "A cell or the line is too long to be a price.",
    "unprintable": "A cell holds characters that cannot be printed.",
    "quote": "A quotation mark is not closed.",
    "rounded": "A spreadsheet has rounded {what}; format the column as text and export it again.",
    "amount": "{what} is not an amount of that currency; write plain digits such as 9.92.",
    "currency": "{what} is not a currency we know; use an ISO 4217 code such as CNY.",
    "span": "A span of amounts has a larger end than beginning, for the face value and for what it costs.",
    "one_price": "Write either a price or basis points, one of the two.",
    "bp": "{what} is no share; 9960 basis points are 99.60 % of the face value, at most 20000.",
    "word": "{what} is no name of a tier or channel; use small letters, digits and _.",
    "time": "{what} is not a time; write 2026-12-01, 2026-12-01 08:30, or with its zone.",
    "ends_first": "It ends before it begins.",
    "whose": "A product is of one operator; name it too.",
    "over": "It ended already.",
    "twice": "An earlier row prices the same thing from the same moment.",
    "no_operator": "We have no operator {what}.",
    "no_product": "This operator has no product {what} of ours.",
    "other_currency": "This operator's credit is sold in another currency than {what}.",
    "not_that_face": "The row does not cover the face value of our product {what}.",
    "needs_product": "A fixed price is of one product with one face value; for others write basis points.",
    "no_partner": "There is no partner {what}.",
    "loss": "{what} would leave less than its least margin.",
    "unread": "The supplier's own entry {what} cannot be read.",
}

_WORD = re.compile(r"[a-z][a-z0-9_]{0,30}")
_ROUNDED = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]+")
_BP = re.compile(r"[1-9][0-9]{0,4}")


def sentence(why: str, what: str) -> str:
    """What is wrong with a row, for the person who sent it."""
    return SENTENCES[why].format(what=repr(what) if what else "what it says") if why else ""


@dataclass(frozen=True, slots=True)
class Known:
    """The operators that a row may name: by our id, and by the supplier's own words; each with its currency."""

    operators: Mapping[str, str]  # our id by what the row says
    currencies: Mapping[str, str]  # by our id


Reader = Callable[[int, Cells, Known], Row]


class _Wrong(Exception):
    def __init__(self, why: str, what: str = "") -> None:
        super().__init__(why)
        self.why, self.what = why, what


def wrong(n: int, found: Wrong, key: str = "") -> Row:
    """A refused row as the stage has it."""
    return (n, key, *[""] * 7, *[None] * 9, found.why, found.what[:60])


def cost_row(n: int, cells: Cells, known: Known) -> Row:
    """A row of a supplier's list as the stage has it."""
    said = cells.get("operator", "")
    operator = known.operators.get(said, said)
    theirs = cells.get("supplier_product", "")
    if operator not in known.currencies and not cells.get("currency"):  # elsewhere: its money says nothing to us
        return (n, f"{operator}|{theirs}|", operator, "", theirs, cells.get("name", ""), *[""] * 3, *[None] * 9, "", "")
    try:
        face_currency = _currency(cells.get("currency") or known.currencies.get(operator, ""))
        cost_currency = _currency(cells.get("cost_currency") or face_currency)
        face = _amount(cells.get("face", ""), face_currency)
        most = _amount(cells["max_face"], face_currency) if cells.get("max_face") else None
        cost = _amount(cells.get("cost", ""), cost_currency)
        most_cost = _amount(cells["max_cost"], cost_currency) if cells.get("max_cost") else None
        if (most is not None and most <= face) or (most_cost is not None and (most is None or most_cost < cost)):
            raise _Wrong("span")
        starts, ends = _span(cells)
    except _Wrong as found:
        return wrong(n, Wrong(found.why, found.what))
    return (
        n,
        f"{operator}|{theirs}|{face_currency}|{'span' if most else face}",
        operator,
        cells.get("product", ""),
        theirs,
        cells.get("name", ""),
        "",
        "",
        "",
        face,
        most,
        face_currency,
        cost,
        most_cost,
        cost_currency,
        None,
        starts,
        ends,
        "",
        "",
    )


def wire_row(n: int, line: PriceLine, known: Known) -> Row:
    """An entry of a list that came through a supplier's wire, as the stage has it."""
    operator = known.operators.get(line.operator, line.operator)
    most = line.most.minor if line.kind == "range" and line.most else None
    cost, most_cost = line.cost.minor, line.most_cost.minor if line.most_cost else None
    if cost <= 0 or (most_cost is not None and most_cost < cost):
        return wrong(n, Wrong("unread", line.product))
    key = f"{operator}|{line.product}|{line.face.currency}|{'span' if most else line.face.minor}"
    names = (operator, "", line.product, "".join(filter(str.isprintable, line.name))[:200], "", "", "")
    money = (line.face.minor, most, line.face.currency, cost, most_cost if most else None, line.cost.currency)
    return (n, key, *names, *money, None, None, None, "", "")


def price_row(n: int, cells: Cells, known: Known) -> Row:
    """A row of our own prices as the stage has it."""
    said = cells.get("operator", "")
    operator = "" if said in ("", "*") else said
    product, partner = cells.get("product", ""), cells.get("partner", "")
    try:
        if product and not operator:
            raise _Wrong("whose")
        tier, channel = (_word(cells.get(name, "")) for name in ("tier", "channel"))
        price, bp = cells.get("price", ""), cells.get("bp", "")
        if bool(price) == bool(bp):
            raise _Wrong("one_price")
        currency = known.currencies.get(operator)
        if price and currency is None:
            raise _Wrong("no_operator" if operator else "needs_product", operator)
        minor = _amount(price, currency or "") if price else None
        if bp and not (_BP.fullmatch(bp) and int(bp) <= 20_000):
            raise _Wrong("bp", bp)
        starts, ends = _span(cells)
    except _Wrong as found:
        return wrong(n, Wrong(found.why, found.what))
    return (
        n,
        price_key(operator, product, tier, channel, partner),
        operator,
        product,
        "",
        "",
        tier,
        channel,
        partner,
        None,
        None,
        None,
        minor,
        None,
        currency if price else None,
        int(bp) if bp else None,
        starts,
        ends,
        "",
        "",
    )


def price_key(operator: str, product: str, tier: str, channel: str, partner: str) -> str:
    """What a price of ours is for."""
    return f"{operator}|{product}|{tier}|{channel}|{partner}"


READERS: Mapping[str, Reader] = {"cost": cost_row, "price": price_row}


def _currency(text: str) -> str:
    if text not in EXPONENT:
        raise _Wrong("currency", text)
    return text


def _amount(text: str, currency: str) -> int:
    try:
        return amount(text, currency).minor
    except NotAnAmount:
        raise _Wrong("rounded" if _ROUNDED.fullmatch(text) else "amount", text) from None


def _word(text: str) -> str:
    if text and not _WORD.fullmatch(text):
        raise _Wrong("word", text)
    return text


def _span(cells: Cells) -> tuple[datetime | None, datetime | None]:
    starts, ends = (_moment(cells.get(name, "")) for name in ("valid_from", "valid_until"))
    if starts is not None and ends is not None and ends <= starts:
        raise _Wrong("ends_first")
    return starts, ends


@lru_cache(4096)
def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise _Wrong("time", text) from None
    try:
        return (read if read.tzinfo else read.replace(tzinfo=ZONE)).astimezone(UTC)
    except OverflowError:
        raise _Wrong("time", text) from None
