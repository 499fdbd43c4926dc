"""Listed numbers: refused in a sentence that tells no stranger why, or served beyond every limit."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.topup.shop import NORTHTELS, OWN_NUMBER, Shop
from tests.topup.test_limits import kinds, limit, used
from tests.topup.test_redeem import redeem, redeemed, typed
from tests.topup.vouchers_sold import sold, state

from refill.numbers import lists, msisdn
from refill.numbers.lists import NumberNotServed
from refill.topup import Order
from refill.topup.limits import LimitReached

PORTED = "186 1234 0004"  # issued by China Unicom


async def put(shop: Shop, number: str, kind: str = "block", where: str = "all", **more: Any) -> None:
    """A line of a list, known to the shop at once."""
    more = {"reason": "fraud was reported: case 17", "who": "anna", **more}
    now = shop.world.db_now()
    await shop.world.advance(1)
    await shop.db.transaction(lambda tx: lists.put(tx, shop.vault, msisdn(number), kind, where=where, now=now, **more))
    await shop.db.transaction(shop.trade.guard.refresh)


async def test_a_refused_number_is_refused_alone_and_nobody_is_told_why(shop: Shop) -> None:
    await put(shop, NORTHTELS)
    answers = await shop.place(shop.partners_ask(NORTHTELS), shop.partners_ask(), shop.ask(NORTHTELS))
    assert [type(answer) for answer in answers] == [NumberNotServed, Order, NumberNotServed]
    assert str(answers[0]) == "We cannot top this number up here. Ask our support about it."
    assert (NumberNotServed.status, NumberNotServed.retryable) == (403, False)
    assert await shop.balance(shop.float) == "950.20"


async def test_a_refused_key_is_free_for_when_the_number_is_served_again(shop: Shop) -> None:
    await put(shop, NORTHTELS)
    (answer,) = await shop.place(shop.partners_ask(NORTHTELS, key="k1"))
    assert isinstance(answer, NumberNotServed)
    await put(shop, NORTHTELS, "lift")
    order = await shop.placed(shop.partners_ask(NORTHTELS, key="k1"))
    assert not order.replayed


@pytest.mark.parametrize(
    ("where", "refused"),
    [
        ("all", "x x x"),
        ("operator:cmcc", "x x x"),
        ("operator:cunicom", "o o o"),
        ("product:cmcc-50", "x o x"),
        ("partner:{partner}", "x x o"),
        ("partner:pa_other", "o o o"),
    ],
)
async def test_a_line_is_about_its_scope(shop: Shop, where: str, refused: str) -> None:
    await put(shop, NORTHTELS, where=where.format(partner=shop.partner))
    asks = [shop.partners_ask(NORTHTELS), shop.partners_ask(NORTHTELS, "20 CNY"), shop.ask(NORTHTELS)]
    answers = await shop.place(*asks)
    assert " ".join("o" if isinstance(answer, Order) else "x" for answer in answers) == refused


async def test_the_narrowest_line_decides(shop: Shop) -> None:
    await put(shop, NORTHTELS)
    await put(shop, NORTHTELS, "allow", f"partner:{shop.partner}")
    await put(shop, OWN_NUMBER, "allow")
    await put(shop, OWN_NUMBER, "block", "product:demo-50")
    answers = await shop.place(
        shop.partners_ask(NORTHTELS), shop.ask(NORTHTELS), shop.partners_ask(), shop.partners_ask(face="20 CNY")
    )
    assert " ".join("o" if isinstance(answer, Order) else "x" for answer in answers) == "o x x o"


async def test_a_ported_number_is_judged_by_its_own_line_and_never_by_its_prefix(shop: Shop) -> None:
    await put(shop, PORTED, where="operator:cunicom")
    answers = await shop.place(
        shop.partners_ask(PORTED), shop.partners_ask(PORTED, operator="cmcc"), shop.partners_ask("186 1234 0005")
    )
    assert " ".join("o" if isinstance(answer, Order) else "x" for answer in answers) == "x o o"


async def test_a_line_with_an_end_ends(shop: Shop) -> None:
    await put(shop, NORTHTELS, until=shop.world.db_now() + timedelta(hours=1))
    (answer,) = await shop.place(shop.partners_ask(NORTHTELS))
    assert isinstance(answer, NumberNotServed)
    await shop.world.advance(3600)
    await shop.placed(shop.partners_ask(NORTHTELS))


async def test_who_is_always_served_is_not_counted_either(shop: Shop) -> None:
    id_ = await limit(shop, most_count=1)
    await put(shop, NORTHTELS, "allow")
    answers = await shop.place(*[shop.partners_ask(NORTHTELS) for _ in range(3)], *[shop.partners_ask() for _ in "ab"])
    assert kinds(answers) == "o o o o L"
    assert await used(shop, id_) == (1, 0)


# ------------------------------------------------------------------ scratch cards


async def test_a_card_for_a_refused_number_stays_as_it_was(shop: Shop, tmp_path: Path) -> None:
    await put(shop, OWN_NUMBER)
    (card,) = await sold(shop, tmp_path)
    (answer,) = await redeem(shop, typed(shop, card))
    assert isinstance(answer, NumberNotServed)
    assert await state(shop, card) == "active"


async def test_who_comes_behind_a_refused_one_with_the_same_card_is_decided_anew(shop: Shop, tmp_path: Path) -> None:
    await put(shop, NORTHTELS)
    (card,) = await sold(shop, tmp_path)
    answers = await redeem(
        shop, typed(shop, card, NORTHTELS), typed(shop, card, NORTHTELS), typed(shop, card), typed(shop, card)
    )
    assert [type(answer) for answer in answers] == [NumberNotServed, NumberNotServed, Order, Order]
    assert answers[2].id == answers[3].id  # type: ignore[union-attr]


async def test_a_card_counts_like_every_other_top_up(shop: Shop, tmp_path: Path) -> None:
    id_ = await limit(shop, most_count=1)
    first, second = await sold(shop, tmp_path, 2)
    assert (await redeemed(shop, typed(shop, first))).limited
    (answer,) = await redeem(shop, typed(shop, second))
    assert isinstance(answer, LimitReached)
    assert (await state(shop, second), await used(shop, id_)) == ("active", (1, 0))
