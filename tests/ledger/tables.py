"""Bookkeeping written as text: accounts, entries and verdicts in tables that a bookkeeper could read.

    accounts                        name, balance, floor ("-": none); opened and filled before the story begins
        float:acme     100.00     0
    entries                         id, debit → credit, amount [+ further legs], and the verdict
        1   float:acme → held:acme  30.00                        posted
    balances                        what must stand in the book afterwards
        float:acme      70.00

Every account is kept in yuan unless its name ends in another currency.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from refill import ledger
from refill.db import Database, Tx
from refill.ids import make_id
from refill.ledger import Account, Entry, Posted, Refusal, Transfer
from refill.money import EXPONENT, decimal_text

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
OPENING = make_id("de", 4095, 0, 0)
MINUS = {"−": "-"}


def book_name(name: str) -> str:
    """ "float:acme" in yuan, "float:acme/JPY" as it is written."""
    return name if "/" in name else f"{name}/CNY"


def minor(text: str, currency: str = "CNY") -> int:
    """ "−30.00" is -3000; tables may be negative or zero, unlike money that people type."""
    sign, digits = (-1, text[1:]) if text[0] in "-−" else (1, text)
    whole, _, part = digits.partition(".")
    exponent = EXPONENT[currency]
    assert len(part) == exponent, f"{text} is not an amount of {currency}"
    return sign * int(whole + part)


def entry_id(n: str) -> str:
    """The id of entry `n` of a table; "2'" is a second entry of the order of "2"."""
    number, steps = n.rstrip("'"), n.count("'")
    return f"{make_id('tu', int(number) % 4096, 0, int(number))}.step{steps}"


def read_entry(line: str) -> tuple[Entry, str]:
    n, rest = line.split(None, 1)
    legs = []
    while found := re.match(r"\+?\s*(\S+)\s*→\s*(\S+)\s+([−-]?[0-9.]+)\s*", rest):
        debit, credit = book_name(found[1]), book_name(found[2])
        legs.append(Transfer(debit, credit, minor(found[3], debit[-3:])))
        rest = rest[found.end() :]
    return Entry(entry_id(n), tuple(legs)), rest.strip()


def verdict(answer: Posted | Refusal) -> str:
    """ "posted", "exists", or why not and because of which account: "not_enough float:acme"."""
    if isinstance(answer, Posted):
        return "exists" if answer.again else "posted"
    return f"{answer.why} {answer.account.removesuffix('/CNY')}".strip()


def sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() in ("accounts", "entries", "balances"):
            lines = found.setdefault(line.strip(), [])
        elif line.strip():
            lines.append(line)
    return found


async def opened(tx: Tx, lines: Sequence[str]) -> None:
    """Opens a table's accounts and fills them from (or empties them into) a bank beyond the story."""
    for n, line in enumerate(lines):
        name, balance, floor = line.split()
        name = book_name(name)
        currency = name[-3:]
        await ledger.open_accounts(tx, [Account(name, None if floor == "-" else minor(floor, currency))], NOON)
        held = minor(balance, currency)
        bank = f"bank:beyond/{currency}"
        leg = (bank, name, held) if held > 0 else (name, bank, -held)
        if held:
            (answer,) = await ledger.post(tx, [Entry.of(f"{OPENING}.fill{n}", leg)], NOON)
            assert answer == Posted(), answer


async def told(db: Database, text: str) -> None:
    """Opens, posts everything as one batch, and compares verdicts and balances with the table."""
    parts = sections(text)
    batch = [read_entry(line) for line in parts.get("entries", ())]

    async def story(tx: Tx) -> tuple[list[str], list[str]]:
        await opened(tx, parts.get("accounts", ()))
        answers = await ledger.post(tx, [entry for entry, _ in batch], NOON)
        names = [line.split()[0] for line in parts.get("balances", ())]
        stand = await ledger.balances(tx, [book_name(name) for name in names])
        said = []
        for name in names:
            held = stand.get(book_name(name))
            said.append(f"{name} {'no account' if held is None else decimal_text(held, book_name(name)[-3:])}")
        return [verdict(answer) for answer in answers], said

    verdicts, said = await db.transaction(story)
    assert verdicts == [expected for _, expected in batch]
    assert said == [" ".join(line.split()).replace("−", "-") for line in parts.get("balances", ())]
