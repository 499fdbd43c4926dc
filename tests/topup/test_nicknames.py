"""Short numbers for orders: the same for ever, small enough for every JSON reader, and never of two orders."""

import pytest
from tests.topup.shop import Shop

from refill.ids import make_id
from refill.topup import nicknames


async def test_an_order_has_one_number_for_ever(shop: Shop) -> None:
    ids = [make_id("tu", cell, 0, cell) for cell in (0, 7, 4095)]

    async def named() -> dict[str, int]:
        return await shop.trade.db.transaction(lambda tx: nicknames.nicknames(tx, shop.vault, ids))

    first = await named()
    assert await named() == first and set(first) == set(ids)
    assert all(0 <= n < 2**53 for n in first.values())
    found = [await shop.trade.db.transaction(lambda tx, n=n: nicknames.named(tx, n)) for n in first.values()]
    assert found == list(first)
    assert await shop.trade.db.transaction(lambda tx: nicknames.nicknames(tx, shop.vault, [])) == {}


@pytest.mark.parametrize("n", [-1, 2**53, 12], ids=["below", "above", "nobody's"])
async def test_a_number_of_no_order_names_nothing(shop: Shop, n: int) -> None:
    assert await shop.trade.db.transaction(lambda tx: nicknames.named(tx, n)) is None


async def test_two_orders_that_meet_in_a_number_get_two(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_id("tu", 7, 0, 1), make_id("tu", 7, 0, 2)
    real = nicknames._number
    monkeypatch.setattr(
        nicknames, "_number", lambda vault, id_, cell, turn: real(vault, id_ if turn else "", cell, turn)
    )
    found = await shop.trade.db.transaction(lambda tx: nicknames.nicknames(tx, shop.vault, [one, other]))
    assert len(set(found.values())) == 2
