"""Reconciliation at the command line, on the books of a shop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.reconcile.conftest import TODAY, Evening

from refill import app
from refill.cli import books as cli
from refill.errors import BadInput, NotFound
from refill.payments import BadStatement


@pytest.fixture
def run(
    evening: Evening, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs a command in a thread of its own, as a process would; returns its exit code and what it printed."""
    import asyncio

    async def nothing_unsafe(tx: Any) -> list[str]:
        return []

    monkeypatch.setenv("REFILL_DATABASE_URL", dsn)
    monkeypatch.setattr(app, "unsafe_settings", nothing_unsafe)

    async def command(name: str, *words: Any, **more: Any) -> tuple[int, str]:
        code = await asyncio.to_thread(getattr(cli, name), *words, data=tmp_path, **more)
        return code, capsys.readouterr().out

    return command


async def test_from_the_file_to_the_bank(evening: Evening, run: Callable[..., Any], tmp_path: Path) -> None:
    await evening.paid()
    await evening.refunded()
    file = tmp_path / "bill.csv"
    file.write_bytes(evening.file(evening.rows()).getvalue())
    assert await run("take", "alipay", file) == (0, f"alipay {TODAY}: 3 of 3 rows match\n")
    code, said = await run("take", "alipay", file)
    assert code == 0
    assert "taken before" in said
    assert "3 of 3 rows match; 0 open, 0 waiting" in (await run("days"))[1]
    assert (await run("close", "alipay", str(TODAY)))[0] == 0
    for _ in range(2):
        assert (await run("settle", "alipay", str(TODAY), "49.60"))[
            1
        ] == f"49.60 CNY of alipay for {TODAY} stand at bank:main\n"
    assert await evening.balance("clearing:alipay") == "0.00"
    assert await evening.clean() == []


async def test_what_does_not_match_ends_with_code_one_and_says_where_to_look(
    evening: Evening, run: Callable[..., Any], tmp_path: Path
) -> None:
    await evening.paid()
    file = tmp_path / "bill.csv"
    file.write_bytes(evening.file([]).getvalue())
    code, said = await run("take", "alipay", file, day=str(TODAY))
    assert code == 1
    assert "Not: 1 ours only; 0 belong into a later statement." in said
    assert f"1 wait for a person: http://127.0.0.1:8000/staff/reconcile/alipay/{TODAY}" in said


async def test_what_is_typed_wrong_is_a_sentence(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        await run("take", "alipay", tmp_path / "none.zip")
    with pytest.raises(BadInput, match="not a day"):
        await run("close", "alipay", "22.11.2026")
    with pytest.raises(BadInput):
        await run("settle", "alipay", str(TODAY), "49,60")
    with pytest.raises(NotFound):
        await run("close", "alipay", str(TODAY))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" * 100)
    with pytest.raises(BadStatement):
        await run("take", "alipay", tmp_path / "photo.jpg")
