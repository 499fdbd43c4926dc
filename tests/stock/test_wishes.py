"""Nobody replaces a PIN, or looks at one, alone."""

from typing import Any

import pytest
from tests.stock.conftest import Storeroom

from refill import stock
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.stock import Wish


async def ask(
    room: Storeroom, order: str, kind: Any = "reveal", who: str = "wang", why: str = "cannot read it"
) -> Wish:
    now = room.world.db_now()
    return await room.db.transaction(lambda tx: stock.ask(tx, order, kind, f"{order}a1", why=why, who=who, now=now))


async def decide(room: Storeroom, wish: Wish, who: str = "li", *, agree: bool = True) -> None:
    async def work(tx: Any) -> None:
        held = await stock.held(tx, wish.order_id, wish.n)
        await stock.decide(tx, held, who, room.world.db_now(), agree=agree)

    await room.db.transaction(work)


async def show(room: Storeroom, wish: Wish, who: str = "wang") -> None:
    await room.db.transaction(lambda tx: stock.shown(tx, wish, who))


async def test_who_asked_sees_it_once_after_another_agreed(room: Storeroom) -> None:
    order = room.order()
    wish = await ask(room, order)
    assert await ask(room, order) == wish, "the button pressed twice"
    assert await room.db.transaction(stock.waiting) == [wish]
    with pytest.raises(CannotHappen):
        await show(room, wish)
    with pytest.raises(NotAllowed):
        await decide(room, wish, "wang")
    await decide(room, wish)
    with pytest.raises(NotAllowed):
        await show(room, wish, "li")
    await show(room, wish)
    with pytest.raises(CannotHappen, match="shown before"):
        await show(room, wish)
    (read,) = await room.db.transaction(lambda tx: stock.wishes_of(tx, order))
    assert (read.state, read.decided_by) == ("read", "li")
    assert await room.db.transaction(stock.waiting) == []


async def test_one_wish_of_a_kind_waits_at_a_time(room: Storeroom) -> None:
    order = room.order()
    wish = await ask(room, order, "replace")
    with pytest.raises(CannotHappen):
        await ask(room, order, "replace", "zhao")
    assert (await ask(room, order, "reveal", "zhao")).n == 2
    await decide(room, wish, "wang", agree=False)
    with pytest.raises(CannotHappen, match="decided before"):
        await decide(room, wish)
    again = await ask(room, order, "replace", "zhao")
    assert again.n == 3
    with pytest.raises(NotAllowed):
        await show(room, again, "zhao")


@pytest.mark.parametrize(("who", "why"), [("", "because"), ("wang", "  ")])
async def test_a_wish_has_a_name_and_a_reason(room: Storeroom, who: str, why: str) -> None:
    with pytest.raises(BadInput):
        await ask(room, room.order(), "reveal", who, why)


async def test_nobody_decides_without_a_name_or_what_nobody_asked(room: Storeroom) -> None:
    wish = await ask(room, room.order())
    with pytest.raises(BadInput):
        await decide(room, wish, " ")
    with pytest.raises(NotFound):
        await room.db.transaction(lambda tx: stock.held(tx, wish.order_id, 7))
