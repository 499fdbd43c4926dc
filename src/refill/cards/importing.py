"""A delivery of SIM cards as a CSV file: read line by line, an answer for every line, safe to import again."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from refill.cards.inventory import ADDED, ALREADY, Collided, Keys, NewCard, add_cards
from refill.db import Database
from refill.errors import BadInput
from refill.numbers import iccid, imsi, msisdn
from refill.vault import Vault
from refill.world import World

BATCH = 1_000
LONGEST_LINE = 1_024
COLUMNS = ("iccid", "imsi", "kind", "k", "opc")
OPTIONAL = ("msisdn",)
_KINDS = {"sim": "SIM", "usim": "USIM", "euicc": "eUICC"}
_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_SPREADSHEET_NUMBER = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]+")


class BadFile(BadInput):
    """The file as a whole cannot be read; nothing was imported."""

    code = "bad_file"


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """What became of one line: `result` is added, already or refused; `why` is for the person who sent the file."""

    line: int
    iccid: str
    result: str
    why: str = ""


async def import_cards(
    db: Database,
    world: World,
    vault: Vault,
    file: BinaryIO,
    *,
    batch: str,
    network: str = "demo",
    currency: str = "CNY",
    progress: Callable[[int], None] = lambda lines: None,
) -> list[LineAnswer]:
    """Imports iccid, imsi, kind, k, opc and perhaps msisdn; returns an answer for every line. Raises BadFile.

    A thousand lines are one transaction. After a crash the same file is imported again: what is in stock stays as it
    is. `progress` hears how many lines are done.
    """
    answers: list[LineAnswer] = []
    waiting: list[tuple[int, NewCard]] = []

    async def put_away() -> None:
        cards = [card for _, card in waiting]
        results = await _add(db, world, vault, cards, batch=batch, network=network, currency=currency)
        for (line, card), result in zip(waiting, results, strict=True):
            if result == ADDED:
                answers.append(LineAnswer(line, card.iccid, "added"))
            elif result == ALREADY:
                answers.append(LineAnswer(line, card.iccid, "already"))
            else:
                answers.append(LineAnswer(line, card.iccid, "refused", result))
        waiting.clear()

    done = 0
    for line, read in _lines(file):
        done += 1
        if isinstance(read, NewCard):
            waiting.append((line, read))
        else:
            answers.append(LineAnswer(line, "", "refused", read))
        if len(waiting) == BATCH:
            await put_away()
        if done % BATCH == 0:
            progress(done)
    if waiting:
        await put_away()
    progress(done)
    return sorted(answers, key=lambda answer: answer.line)


async def _add(
    db: Database, world: World, vault: Vault, cards: list[NewCard], *, batch: str, network: str, currency: str
) -> list[str]:
    for _ in range(3):
        try:
            return await db.transaction(
                lambda tx: add_cards(tx, world, vault, cards, batch=batch, network=network, currency=currency)
            )
        except Collided:
            continue  # the other import has committed by now: the next look finds its cards
    raise Collided("The same cards are being imported by somebody else; import the file again.")


def _lines(file: BinaryIO) -> Iterator[tuple[int, NewCard | str]]:
    """Each line after the header with its number, as a card or as the sentence that refuses it."""
    header = _cells(_text(file.readline(LONGEST_LINE + 1)).removeprefix("\ufeff"))
    columns = [cell.strip().lower() for cell in header]
    missing = [name for name in COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in COLUMNS + OPTIONAL]
    if missing or unknown or len(set(columns)) < len(columns):
        named = f"{', '.join(missing)} is missing" if missing else f"{', '.join(unknown) or 'one name'} is one too many"
        raise BadFile(f"The first line names the columns iccid, imsi, kind, k, opc and perhaps msisdn; {named}.")
    number = 1
    while raw := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
            while rest := file.readline(LONGEST_LINE + 1):  # the rest of the same line, thrown away piece by piece
                if rest.endswith(b"\n"):
                    break
            yield number, "The line is too long; it cannot be one card."
            continue
        try:
            cells = _cells(_text(raw))
            if any(cells):
                yield number, _card(columns, cells)
        except BadInput as refusal:
            yield number, str(refusal)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadFile("The text is not UTF-8 (perhaps GBK); save the sheet as “CSV UTF-8” and send it again.") from None
    if "\0" in text:
        raise BadFile("There is a NUL character in the text; save the sheet as “CSV UTF-8” and send it again.")
    return text


def _cells(line: str) -> list[str]:
    # Line by line on purpose: no column of ours holds a line break, and an unclosed quote must not swallow the next card.
    try:
        return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")], strict=True), [])]
    except csv.Error:
        raise BadFile("A quotation mark is not closed.") from None


def _card(columns: list[str], cells: list[str]) -> NewCard:
    if len(cells) != len(columns):
        raise BadFile(f"The line has {len(cells)} cells instead of {len(columns)}.")
    for name, cell in zip(columns, cells, strict=True):
        if cell[:1] in ("=", "@", "-") or (cell[:1] == "+" and name != "msisdn"):
            raise BadFile(f"The cell {name} holds a formula.")
        if name in ("iccid", "imsi", "msisdn") and _SPREADSHEET_NUMBER.fullmatch(cell):
            raise BadFile(f"A spreadsheet has rounded {name}; format the column as text and export it again.")
    field = dict(zip(columns, cells, strict=True))
    kind = _KINDS.get(field["kind"].lower())
    if kind is None:
        raise BadFile("The kind of a card is SIM, USIM or eUICC.")
    if not _KEY.fullmatch(field["k"]) or not _KEY.fullmatch(field["opc"]):
        raise BadFile("K and OPc are 32 hexadecimal digits each.")
    number = field.get("msisdn")
    return NewCard(
        iccid(field["iccid"]),
        imsi(field["imsi"]),
        kind,
        Keys(bytes.fromhex(field["k"]), bytes.fromhex(field["opc"])),
        msisdn(number) if number else None,
    )
