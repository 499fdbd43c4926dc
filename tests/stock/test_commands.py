"""`refill stock …`: PINs from a file into stock, as staff types it; the engine is the real one on the tests' database."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from tests.stock.conftest import csv_of
from tests.worlds import FixedWorld

from refill import catalogue
from refill.cli import stock as commands
from refill.db import Pool
from refill.errors import BadInput, NotAllowed, NotFound
from refill.operators import suppliers_by_name
from refill.topup import Shelf, Trade
from refill.vault import Vault

PIN = "cmcc-pin-50"


@pytest.fixture
def shell(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Commands run on the tests' database, which promises nothing over a power cut; `shell(name)` sits somebody down."""
    world = FixedWorld()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table, of, other in (
            ("product", "cmcc-50", {"id": PIN, "category": "pin"}),
            ("supply", "cmcc-northtel", {"id": "cmcc-pins", "product_id": PIN, "supplier": "pins"}),
        ):
            connection.execute(
                f"INSERT INTO catalogue_{table} SELECT (jsonb_populate_record(t, '{json.dumps(other)}')).*"
                f" FROM catalogue_{table} t WHERE id = '{of}'".encode()
            )

    def in_house(_settings: object, run: Callable[[Any], Awaitable[int]]) -> int:
        async def inside() -> int:
            pool = await Pool(dsn, size=2).open()
            try:
                shelf = Shelf(await pool.transaction(catalogue.load))
                trade = Trade(world, pool, Vault(bytes(range(32))), shelf, {}, suppliers_by_name({}))
                return await run(SimpleNamespace(trade=trade, pool=pool, world=world))
            finally:
                await pool.close()

        return asyncio.run(inside())

    monkeypatch.setattr(commands, "in_house", in_house)
    return lambda name: monkeypatch.setattr("getpass.getuser", lambda: name)


def test_pins_are_bought_by_two_counted_and_watched(
    shell: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> str:
        return capsys.readouterr().out

    file = tmp_path / "pins.csv"
    file.write_bytes(csv_of(3) + b"S9,12,2027-12-31\n")
    terms = {"product": PIN, "cost": "49.20", "purse": "bank:main", "why": "invoice 17"}
    shell("wang")
    assert commands.import_pins(file, **terms) == 0
    told = said()
    code = told.splitlines()[1].partition(":")[0]
    assert "line 5: A PIN has 4 to 32 digits or letters." in told
    assert told.endswith(f"{code}: 3 PINs of {PIN}, 147.60 CNY together; another person confirms the batch\n")
    with pytest.raises(NotAllowed):
        commands.confirm(code)
    shell("li")
    assert commands.confirm(code) == 0
    assert said() == f"3 PINs of {PIN} are in stock\n"
    assert commands.level(PIN, 5) == 0
    assert said() == f"{PIN}: an alarm below 5\n"
    assert commands.count() == 0
    told = said()
    assert f"{PIN}  3 of 50.00 CNY in stock (147.60 CNY), 0 to confirm" in told
    assert "alarm below 5  TOO FEW" in told and f"{code}  3 of {PIN}, 147.60 CNY: confirmed (wang, li)" in told
    assert all(f"{n:018d}" not in told for n in range(1, 4))
    file.write_bytes(csv_of(2))
    assert commands.import_pins(file, **terms) == 1
    assert "No row of this file is new" in said()
    file.write_bytes(csv_of(1, 50))
    assert commands.import_pins(file, **terms) == 0
    code = said().partition(":")[0]
    assert commands.decline(code) == 0
    assert said() == f"{code} is declined; nothing was booked\n"
    with pytest.raises(NotFound):
        commands.confirm("s000000")
    with pytest.raises(BadInput, match="cannot be read"):
        commands.import_pins(tmp_path / "nowhere.csv", **terms)
