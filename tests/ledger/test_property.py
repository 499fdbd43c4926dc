"""A batch of entries equals its entries posted one by one, whatever they are."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.tables import NOON, verdict

from refill import ledger
from refill.db import Pool, Tx
from refill.ids import make_id
from refill.ledger import Account, Entry, Transfer

ANNA, BERT = (f"balance:{make_id('su', cell, 0, 1)}/CNY" for cell in (5, 77))
FLOORS = {"float:acme/CNY": 0, "float:bell/CNY": -300, ANNA: 0, BERT: 0, "float:tokyo/JPY": 0}
NAMES = [*FLOORS, "bank:demo/CNY", "held:acme/CNY", "bank:tokyo/JPY", "float:nobody/CNY"]


@dataclass(frozen=True)
class Written:
    """An entry as drawn: ids and contents from a small choice, so that repeats and disputes are common."""

    n: int
    transfers: tuple[Transfer, ...]

    def entry(self, example: int) -> Entry:
        return Entry(f"{make_id('tu', self.n, example, self.n)}.x", self.transfers)


transfers = st.builds(Transfer, st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from([0, 1, 100, 300, 500]))
entries = st.builds(Written, st.integers(1, 6), st.lists(transfers, min_size=1, max_size=3).map(tuple))


class Never(Exception):
    """What was written in it never happened."""


async def outcome(db: Pool, batches: list[list[Entry]], filled: list[int]) -> tuple[list[str], dict[str, int]]:
    """Verdicts and balances after posting `batches`; all of it is undone."""
    seen: list[tuple[list[str], dict[str, int]]] = []

    async def work(tx: Tx) -> None:
        await ledger.open_accounts(tx, [Account(name, floor) for name, floor in FLOORS.items()], NOON)
        for n, (name, minor) in enumerate(zip(FLOORS, filled, strict=True)):
            filling = Entry.of(f"{make_id('de', 0, 0, n)}.fill", (f"bank:beyond/{name[-3:]}", name, minor))
            await ledger.post(tx, [filling], NOON)
        verdicts = [verdict(answer) for batch in batches for answer in await ledger.post(tx, batch, NOON)]
        seen.append((verdicts, await ledger.balances(tx, NAMES)))
        raise Never

    with pytest.raises(Never):
        await db.transaction(work)
    return seen[0]


@given(
    st.lists(entries, min_size=1, max_size=8),
    st.lists(st.sampled_from([0, 100, 400]), min_size=len(FLOORS), max_size=len(FLOORS)),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_batch_equals_its_entries_one_by_one(db: Pool, written: list[Written], filled: list[int]) -> None:
    batch = [one.entry(1) for one in written]
    together, after = await outcome(db, [batch], filled)
    one_by_one, after_each = await outcome(db, [[entry] for entry in batch], filled)
    assert together == one_by_one
    # An account of our own that opens with its first use may stand open at zero in one case and not in the other.
    assert {k: v for k, v in after.items() if v} == {k: v for k, v in after_each.items() if v}
    for currency in ("CNY", "JPY"):
        assert sum(minor for name, minor in after.items() if name.endswith(currency)) == sum(
            minor for minor, name in zip(filled, FLOORS, strict=True) if name.endswith(currency)
        )
    for name, floor in FLOORS.items():
        assert after[name] >= floor
