"""A delivery of cards is read line by line: each line has its answer, and a bad one harms nobody but itself."""

import asyncio
import io
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from refill.cards import BadFile, LineAnswer, import_cards
from refill.cards.inventory import Collided
from refill.db import Pool
from refill.errors import CannotHappen
from refill.numbers.iccid import check_digit
from refill.vault import Vault

World = Any
HEADER = "iccid,imsi,kind,k,opc,msisdn\n"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "00112233445566778899aabbccddeeff"


def iccid(place: int) -> str:
    body = f"898699{place:012}"
    return body + check_digit(body)


def line(place: int, msisdn: str = "", *, kind: str = "usim", k: str = SECRET, imsi: str = "") -> str:
    return f"{iccid(place)},{imsi or f'46099{place:010}'},{kind},{k},{SECRET},{msisdn}\n"


@pytest.fixture
def deliver(db: Pool, world: World, vault: Vault) -> Any:
    async def deliver(content: str | bytes, **more: Any) -> list[LineAnswer]:
        raw = content.encode() if isinstance(content, str) else content
        return await import_cards(db, world, vault, io.BytesIO(raw), batch="spring", **more)

    return deliver


def said(answers: list[LineAnswer]) -> list[tuple[int, str]]:
    return [(answer.line, answer.result) for answer in answers]


async def test_every_line_has_its_answer(deliver: Any) -> None:
    answers = await deliver(HEADER + line(1) + line(2, "+8613800138000") + line(1) + "\n" + line(3, kind="eUICC"))
    assert said(answers) == [(2, "added"), (3, "added"), (4, "already"), (6, "added")]


async def test_a_file_imported_again_changes_nothing(deliver: Any, dsn: str) -> None:
    content = HEADER + "".join(line(place, f"+86138{place:08}") for place in range(50))
    first, again = await deliver(content), await deliver(content)
    assert {answer.result for answer in first} == {"added"}
    assert {answer.result for answer in again} == {"already"}
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM cards_card").fetchone() == (50,)
        assert connection.execute("SELECT count(*) FROM cards_subscriber").fetchone() == (50,)


async def test_after_a_crash_half_way_the_rest_is_imported(db: Pool, world: World, vault: Vault, deliver: Any) -> None:
    content = HEADER + "".join(line(place) for place in range(2_500))

    class Killed(Exception):
        pass

    def die(lines: int) -> None:
        if lines == 2_000:
            raise Killed

    with pytest.raises(Killed):
        await deliver(content, progress=die)
    heard: list[int] = []
    answers = await deliver(content, progress=heard.append)
    assert [answer.result for answer in answers] == ["already"] * 2_000 + ["added"] * 500
    assert heard == [1_000, 2_000, 2_500]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line(1).replace(iccid(1), iccid(1)[:-1] + str((int(iccid(1)[-1]) + 1) % 10)), "mistyped"),
        (line(1).replace(iccid(1), "8.98699E+18"), "rounded iccid"),
        (line(1, imsi="4.6099E+14"), "rounded imsi"),
        (line(1, "1.38E+10"), "rounded msisdn"),
        (line(1, "12345"), "A digit is missing"),
        (line(1, "=HYPERLINK(1)"), "formula"),
        (line(1, "@SUM(A1)"), "formula"),
        (line(1, kind="-1"), "formula"),
        (line(1, kind="+1"), "formula"),
        (line(1, kind="nano"), "SIM, USIM or eUICC"),
        (line(1, k="00"), "32 hexadecimal"),
        (line(1, k="0" * 31 + "g"), "32 hexadecimal"),
        (line(1, imsi="46099"), "IMSI"),
        (line(1).replace("usim", '"usim'), "quotation mark"),
        (line(1).rstrip() + ",one more\n", "7 cells instead of 6"),
        ("8986\n", "1 cells instead of 6"),
        (line(1, "\0"), "NUL"),
        (line(1).rstrip() + "x" * 5_000 + "\n", "too long"),
    ],
)
async def test_a_bad_line_is_refused_by_name_and_the_next_one_is_read(deliver: Any, bad: str, says: str) -> None:
    refused, added = await deliver(HEADER + bad + line(2))
    assert (refused.line, refused.result) == (2, "refused")
    assert says in refused.why
    assert SECRET not in refused.why
    assert (added.line, added.result) == (3, "added")


async def test_a_line_in_gbk_is_refused_with_what_to_do(deliver: Any) -> None:
    refused, added = await deliver(HEADER.encode() + "卡,,,,,\n".encode("gbk") + line(2).encode())
    assert "UTF-8" in refused.why
    assert added.result == "added"


async def test_what_the_stock_contradicts_is_refused_by_name(deliver: Any) -> None:
    await deliver(HEADER + line(1, "+8613800138000"))
    answers = await deliver(HEADER + line(2, "13800138000") + line(3, imsi="46099" + f"{1:010}"))
    assert [answer.result for answer in answers] == ["refused", "refused"]
    assert "13800138000" not in str(answers)


async def test_a_sheet_saved_with_a_byte_order_mark_and_windows_lines_is_read(deliver: Any) -> None:
    content = ("\ufeff" + HEADER + line(1, '"+86 138 0013 8000"')).replace("\n", "\r\n")
    assert said(await deliver(content)) == [(2, "added")]


async def test_the_last_line_needs_no_end_and_may_be_too_long(deliver: Any) -> None:
    assert said(await deliver(HEADER + line(1).rstrip("\n"))) == [(2, "added")]
    assert said(await deliver(HEADER + "x" * 5_000)) == [(2, "refused")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "iccid"),
        (b"iccid,imsi\n", "kind, k, opc is missing"),
        (b"iccid,imsi,kind,k,opc,price\n", "price is one too many"),
        (b"iccid,imsi,kind,k,opc,k\n", "one too many"),
        ("卡号,imsi\n".encode("gbk"), "UTF-8"),
        (b'"iccid,imsi,kind,k,opc\n', "quotation mark"),
    ],
)
async def test_a_file_that_is_something_else_is_refused_as_a_whole(deliver: Any, content: bytes, says: str) -> None:
    with pytest.raises(BadFile, match=says):
        await deliver(content)


async def test_two_people_importing_the_same_cards_at_once_get_each_card_once(deliver: Any, dsn: str) -> None:
    with psycopg.connect(dsn) as other:
        other.execute(
            "INSERT INTO cards_card (iccid, imsi, kind, keys_sealed, status, batch, imported_at)"
            " VALUES (%s, %s, 'USIM', '', 'stock', 'other', %s)",
            [iccid(1), f"46099{1:010}", NOON],
        )
        ours = asyncio.create_task(deliver(HEADER + line(1) + line(2, "+8613800138000")))
        with psycopg.connect(dsn, autocommit=True) as watcher:
            while not watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                await asyncio.sleep(0.01)
        other.commit()
        assert said(await ours) == [(2, "already"), (3, "added")]


async def test_a_collision_that_does_not_end_is_told(world: World, vault: Vault, deliver: Any) -> None:
    class AlwaysTooLate:
        async def transaction(self, work: Any) -> Any:
            raise Collided("somebody was faster")

    with pytest.raises(CannotHappen, match="import the file again"):
        await import_cards(AlwaysTooLate(), world, vault, io.BytesIO((HEADER + line(1)).encode()), batch="spring")
