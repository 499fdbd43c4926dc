"""Placing: one key is one order for ever, refusals leave no trace, and a batch equals its asks one by one."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.topup.shop import Lossy, Shop, table

from refill import cards
from refill.db import Pool
from refill.errors import BadInput, NotEnough, NotForSale, OtherContent, PriceTooHigh, RefillError
from refill.money import Money, money
from refill.topup import BulkKey, Order, flow, store


async def test_a_partners_top_up_on_our_own_network_is_paid_and_delivered_at_once(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("138 0013 8000", "50.00 CNY", key="k1", reference="R-1"))
    assert (order.status, order.certainty, order.replayed) == ("succeeded", "final", False)
    assert (str(order.price), order.operator, order.reference) == ("49.80 CNY", "demo", "R-1")
    assert await shop.story(order.id) == "sold"
    assert await shop.book(order.id) == table("""
        sold.0 | float:kiosk → balance:anna       | 49.80
        sold.1 | commission:kiosk → balance:anna  | 0.20
    """)
    assert await shop.balance(shop.float) == "950.20"
    assert shop.subscriber is not None and shop.subscriber.active_until is not None
    assert order.valid_until is not None and (order.valid_until - shop.subscriber.active_until).days == 60
    assert await shop.order(order.id) == order


async def test_credit_of_our_own_network_costs_nothing_to_buy(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask())
    assert order.cost is None
    assert order.in_price(4980) == 4980


async def test_a_partners_order_elsewhere_is_held_until_it_is_delivered(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    assert (order.status, order.payment, order.delivery, order.operator) == ("processing", "captured", "ready", "cmcc")
    assert await shop.book(order.id) == table("held.0 | float:kiosk → held:kiosk | 49.80")


async def test_a_guests_order_waits_to_be_paid(shop: Shop) -> None:
    order = await shop.placed(shop.ask("138 0013 8000"))
    assert (order.status, order.payment, order.delivery) == ("processing", "unpaid", "quoted")
    assert order.expires_at is not None and (order.expires_at - order.created_at).total_seconds() == 900
    assert await shop.book(order.id) == ""


# ------------------------------------------------------------------ rule 7: the same request twice


async def test_the_same_key_is_the_same_order_for_ever(shop: Shop) -> None:
    first = await shop.placed(shop.partners_ask(key="k1"))
    again = await shop.placed(shop.partners_ask(key="k1"))
    assert (again.id, again.replayed) == (first.id, True)
    await shop.wait(90 * 24 * 3600)
    much_later = await shop.placed(shop.partners_ask(key="k1"))
    assert (much_later.id, much_later.replayed) == (first.id, True)
    assert await shop.balance(shop.float) == "950.20"


async def test_a_bulks_key_names_all_of_its_rows_at_once(shop: Shop) -> None:
    bulk = BulkKey("b1", "c" * 32)
    rows = [shop.partners_ask(reference=f"R-{n}", bulk=bulk) for n in range(2)]
    first = await shop.place(*rows)
    again = await shop.place(*[shop.partners_ask(reference=f"R-{n}", bulk=bulk) for n in range(3)])
    assert all(isinstance(order, Order) for order in (*first, *again))
    assert [(order.id, order.replayed) for order in again[:2]] == [(order.id, True) for order in first]
    # What was cut off on the way, as when a poisoned row broke its bulk in two, is placed when it comes again.
    assert again[2].replayed is False


async def test_a_bulks_key_with_other_rows_is_refused_row_by_row(shop: Shop) -> None:
    await shop.placed(shop.partners_ask(reference="R-1", bulk=BulkKey("b1", "c" * 32)))
    other = BulkKey("b1", "d" * 32)
    answers = await shop.place(shop.partners_ask(reference="R-1", bulk=other), shop.partners_ask(bulk=other))
    assert [type(answer) for answer in answers] == [OtherContent, OtherContent]
    assert await shop.balance(shop.float) == "950.20"


async def test_of_two_bulks_with_one_key_the_first_has_it(shop: Shop) -> None:
    one, other = BulkKey("b1", "c" * 32), BulkKey("b1", "d" * 32)
    answers = await shop.place(
        shop.partners_ask(reference="R-1", bulk=one),
        shop.partners_ask(reference="R-2", bulk=other),
        shop.partners_ask(reference="R-3", bulk=one),
    )
    assert [type(answer) for answer in answers] == [Order, OtherContent, Order]


async def test_a_bulk_of_which_every_row_was_refused_leaves_its_key_free(shop: Shop) -> None:
    answers = await shop.place(shop.partners_ask(face="900.00 CNY", bulk=BulkKey("b1", "c" * 32)))
    assert [type(answer) for answer in answers] == [NotForSale]
    order = await shop.placed(shop.partners_ask(bulk=BulkKey("b1", "d" * 32)))
    assert order.status == "succeeded"


OTHER = {
    "another number": {"typed": "139 1234 5678"},
    "another amount": {"face": "100.00 CNY"},
    "another reference": {"reference": "R-2"},
    "another operator": {"operator": "cmcc"},
    "another product": {"product": "demo-any"},
}


@pytest.mark.parametrize("more", OTHER.values(), ids=OTHER)
async def test_the_same_key_with_other_content_is_an_error(shop: Shop, more: dict[str, str]) -> None:
    await shop.placed(shop.partners_ask(key="k1", reference="R-1"))
    (answer,) = await shop.place(shop.partners_ask(**{"key": "k1", "reference": "R-1", **more}))
    assert isinstance(answer, OtherContent)
    # The refused request has not taken the reference that it brought along.
    assert await store.by_reference(shop.trade, f"partner:{shop.partner}", "R-2") is None
    assert isinstance(await shop.placed(shop.partners_ask(key="k2", reference="R-2")), Order)


async def test_a_reference_under_another_key_returns_the_first_order(shop: Shop) -> None:
    first = await shop.placed(shop.partners_ask(key="k1", reference="R-1"))
    again = await shop.placed(shop.partners_ask(key="k2", reference="R-1"))
    assert (again.id, again.replayed) == (first.id, True)
    # … and the second key is now a name of that order, too.
    by_second_key = await shop.placed(shop.partners_ask(key="k2", reference="R-1"))
    assert by_second_key.id == first.id
    (other,) = await shop.place(shop.partners_ask(key="k2", reference="R-9"))
    assert isinstance(other, OtherContent)


async def test_a_reference_with_other_content_is_an_error_under_any_key(shop: Shop) -> None:
    await shop.placed(shop.partners_ask(reference="R-1"))
    (answer,) = await shop.place(shop.partners_ask(face="100.00 CNY", key="k9", reference="R-1"))
    assert isinstance(answer, OtherContent)


async def test_an_order_is_found_by_its_payers_own_reference(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask(reference="R-1"))
    found = await store.by_reference(shop.trade, f"partner:{shop.partner}", "R-1")
    assert found is not None and found.id == order.id
    assert await store.by_reference(shop.trade, "partner:pa_somebody_else", "R-1") is None


async def test_one_payers_key_says_nothing_to_another_payer(shop: Shop) -> None:
    mine = await shop.placed(shop.ask(payer="guest:anna", key="k1"))
    yours = await shop.placed(shop.ask(payer="guest:bert", face="100.00 CNY", key="k1"))
    assert yours.id != mine.id and not yours.replayed


async def test_without_a_key_each_ask_is_an_order_and_a_repeat_of_its_id_is_not(shop: Shop) -> None:
    ask = shop.partners_ask()
    first, again, other = await shop.placed(ask), await shop.placed(ask), await shop.placed(shop.partners_ask())
    assert (again.id, again.replayed) == (first.id, True)
    assert other.id != first.id
    assert await shop.balance(shop.float) == "900.40"


async def test_two_equal_asks_in_one_batch_are_one_order(shop: Shop) -> None:
    one, two, three = await shop.place(
        shop.partners_ask(key="k1"), shop.partners_ask(key="k1"), shop.partners_ask(face="100.00 CNY", key="k1")
    )
    assert isinstance(one, Order) and isinstance(two, Order) and isinstance(three, OtherContent)
    assert (one.id, one.replayed, two.replayed) == (two.id, False, True)
    assert await shop.balance(shop.float) == "950.20"


async def test_the_very_same_ask_with_its_key_a_second_time_is_a_repeat(shop: Shop) -> None:
    ask = shop.partners_ask(key="k1")
    first, again = await shop.placed(ask), await shop.placed(ask)
    assert (again.id, first.replayed, again.replayed) == (first.id, False, True)


async def test_the_repeat_of_a_repeat_names_the_first_order(shop: Shop) -> None:
    first = await shop.placed(shop.partners_ask(reference="R-1"))
    again = await shop.place(*(shop.partners_ask(key="k1", reference="R-1") for _ in range(3)))
    assert [answer.id for answer in again if isinstance(answer, Order) and answer.replayed] == [first.id] * 3


async def test_one_id_twice_in_one_batch_is_one_order(shop: Shop) -> None:
    ask = shop.partners_ask()
    one, two = await shop.place(ask, ask)
    assert isinstance(one, Order) and isinstance(two, Order)
    assert (one.id, one.replayed, two.id, two.replayed) == (ask.id, False, ask.id, True)


async def test_a_name_that_a_refused_row_gave_up_is_free_for_the_next_row(shop: Shop) -> None:
    cheap = money("10.00 CNY")
    refused, placed, repeat, other = await shop.place(
        shop.partners_ask(key="k1", max_price=cheap),
        shop.partners_ask(key="k1"),
        shop.partners_ask(key="k1"),
        shop.partners_ask(face="100.00 CNY", key="k1"),
    )
    assert isinstance(refused, PriceTooHigh) and isinstance(placed, Order) and isinstance(other, OtherContent)
    assert isinstance(repeat, Order) and repeat.id == placed.id


async def test_the_same_number_twice_in_one_batch_is_extended_twice(shop: Shop) -> None:
    one, two = await shop.place(shop.partners_ask(), shop.partners_ask())
    assert isinstance(one, Order) and isinstance(two, Order)
    assert one.valid_until is not None and two.valid_until is not None
    assert (two.valid_until - one.valid_until).days == 60


async def test_sixteen_equal_requests_at_one_moment_are_one_order(shop: Shop) -> None:
    asks = [shop.partners_ask(key="k1", reference="R-1") for _ in range(16)]
    answers = await asyncio.gather(*(shop.placed(ask) for ask in asks))
    assert len({answer.id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert await shop.balance(shop.float) == "950.20"


# ------------------------------------------------------------------ refusals


REFUSED = """
    typed           | face         | more                          | refused as      | says
    138 0013 8000   | 51.00 USD    |                               | NotForSale      | sold in CNY, not in USD
    139 1234 5678   | 51.00 CNY    |                               | NotForSale      | does not sell 51.00 CNY
    139 1234 5678   | 50.00 CNY    | operator=demo                 | NotForSale      | not on that network
    139 1234 5678   | 50.00 CNY    | operator=nobody               | NotForSale      | do not sell
    139 1234 5678   | 50.00 CNY    | product=cmcc-999              | NotForSale      | no product
    165 1234 5678   | 50.00 CNY    |                               | NotForSale      | name it in
    138 0013 8000   | 50.00 CNY    | max_price=49.79 CNY           | PriceTooHigh    | above the highest price
    138 0013 8000   | 50.00 CNY    | max_price=49.80 USD           | BadInput        | must be in CNY
    138 0013 8000   | 500.00 CNY   | twice                         | NotEnough       | holds too little
"""


@pytest.mark.parametrize("line", [line.strip() for line in REFUSED.strip().splitlines()[1:]])
async def test_a_refusal_has_a_name_and_leaves_no_trace(shop: Shop, line: str) -> None:
    typed, face, more, name, says = (cell.strip() for cell in line.split("|"))
    options: dict[str, object] = dict(option.split("=") for option in more.split(", ") if "=" in option)
    if "max_price" in options:
        options["max_price"] = money(str(options["max_price"]))
    if more == "twice":
        await shop.placed(shop.partners_ask(typed, face))
        await shop.placed(shop.partners_ask(typed, face))
    before = await shop.balance(shop.float)
    ask = shop.partners_ask(typed, face, key="k1", reference="R-1", **options)
    (answer,) = await shop.place(ask)
    assert type(answer).__name__ == name and isinstance(answer, RefillError)
    assert says in str(answer)
    assert await store.find(shop.trade, [ask.id]) == [None]
    assert await store.by_reference(shop.trade, ask.payer, "R-1") is None
    assert await shop.balance(shop.float) == before


async def test_a_refusal_is_not_remembered_so_the_same_key_may_try_again(shop: Shop) -> None:
    limit = money("49.00 CNY")
    (refused,) = await shop.place(shop.partners_ask(key="k1", max_price=limit))
    assert isinstance(refused, PriceTooHigh)
    # Even for another meaning: nothing was kept.
    order = await shop.placed(shop.partners_ask(face="100.00 CNY", key="k1"))
    assert not order.replayed


async def test_one_row_that_cannot_be_paid_does_not_disturb_the_others(shop: Shop) -> None:
    big, small, again, foreign = await shop.place(
        shop.partners_ask(face="500.00 CNY", key="a"),
        shop.partners_ask(face="500.00 CNY", key="b"),
        shop.partners_ask(face="500.00 CNY", key="c"),
        shop.partners_ask(face="4.00 CNY", key="d"),
    )
    assert isinstance(big, Order) and isinstance(small, Order) and isinstance(again, NotEnough)
    assert isinstance(foreign, Order)
    assert await shop.balance(shop.float) == "0.02"


async def test_a_float_that_nobody_opened_cannot_pay(shop: Shop) -> None:
    stranger = shop.ask("138 0013 8000", payer="partner:pa_1m80fpm803zz000000000001")
    (answer,) = await shop.place(stranger)
    assert isinstance(answer, NotForSale) and "cannot pay" in str(answer)


async def test_a_number_that_is_out_of_service_is_refused(shop: Shop) -> None:
    await shop.wait(200 * 24 * 3600)
    now = shop.world.db_now()
    for _ in range(3):
        await shop.db.transaction(lambda tx: cards.age(tx, now))
    (answer,) = await shop.place(shop.partners_ask("138 0013 8000"))
    assert isinstance(answer, NotForSale)


async def test_a_product_whose_supplier_is_not_connected_is_not_sold(shop: Shop) -> None:
    shop.trade.suppliers.clear()  # type: ignore[attr-defined]
    (answer,) = await shop.place(shop.partners_ask("139 1234 5678"))
    assert isinstance(answer, NotForSale) and "connected" in str(answer)


async def test_what_a_person_chose_rules_over_the_prefix_and_what_we_learnt_does_too(shop: Shop) -> None:
    by_prefix = await shop.placed(shop.ask("139 1234 5678"))
    chosen = await shop.placed(shop.ask("139 1234 5678", operator="cunicom"))
    await shop.taught("139 1234 5678", "ctcc")
    learnt = await shop.placed(shop.ask("139 1234 5678"))
    assert [order.operator for order in (by_prefix, chosen, learnt)] == ["cmcc", "cunicom", "ctcc"]


async def test_nothing_is_asked_and_nothing_is_placed(shop: Shop) -> None:
    assert await shop.place() == []


# ------------------------------------------------------------------ a commit whose answer was lost


async def test_when_the_answer_to_the_commit_is_lost_the_order_is_found_not_placed_again(shop: Shop, db: Lossy) -> None:
    db.lose = 1
    named, plain, refused, repeat = await shop.place(
        shop.partners_ask(key="k1"),
        shop.partners_ask(),
        shop.partners_ask(face="51.00 USD", key="k2"),
        shop.partners_ask(key="k1"),
    )
    assert isinstance(named, Order) and isinstance(plain, Order) and isinstance(refused, NotForSale)
    assert isinstance(repeat, Order) and repeat.id == named.id
    assert await shop.balance(shop.float) == "900.40"
    assert not named.replayed, "the client asked once, and hears of its first order"
    assert await shop.story(named.id) == "sold"


async def test_when_somebody_took_the_second_name_while_our_commit_was_in_doubt(shop: Shop, db: Lossy) -> None:
    """Our own commit held: whatever came after it is a repeat of ours."""
    later: list[object] = []

    async def others() -> None:
        later.extend(await shop.place(shop.partners_ask(key="k1", reference="R-1")))

    db.lose, db.between = 1, others
    order = await shop.placed(shop.partners_ask(key="k1", reference="R-1"))
    (repeat,) = later
    assert isinstance(repeat, Order) and repeat.id == order.id and repeat.replayed and not order.replayed


async def test_a_repeat_whose_commit_was_in_doubt_still_names_the_first_order(shop: Shop, db: Lossy) -> None:
    first = await shop.placed(shop.partners_ask(key="k1", reference="R-1"))
    db.lose = 1
    again = await shop.placed(shop.partners_ask(key="k2", reference="R-1"))
    assert again.id == first.id


# ------------------------------------------------------------------ a batch equals its asks one by one


drawn = st.lists(
    st.fixed_dictionaries(
        {
            "typed": st.sampled_from(["138 0013 8000", "139 1234 5678"]),
            "face": st.sampled_from(["50.00 CNY", "100.00 CNY", "51.00 USD"]),
            "key": st.sampled_from([None, "k1", "k2"]),
            "reference": st.sampled_from([None, "R-1", "R-2"]),
            "max_price": st.sampled_from([None, Money(4900, "CNY"), Money(90_000, "CNY")]),
        }
    ),
    min_size=2,
    max_size=6,
)


class Never(Exception):
    """What happened before it never happened."""


class OneTransaction:
    """A database that runs everything inside one transaction, so that a whole day can be undone."""

    def __init__(self, tx: object) -> None:
        self._tx = tx

    async def transaction(self, work: object) -> object:
        return await work(self._tx)  # type: ignore[operator]


@given(drawn)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_batch_equals_its_asks_one_by_one(shop: Shop, pool: Pool, wishes: list[dict[str, object]]) -> None:
    asks = [shop.partners_ask(**wish) for wish in wishes]
    names = {ask.id: n for n, ask in enumerate(asks)}

    async def day(one_by_one: bool) -> tuple[list[str], str]:
        seen: list[tuple[list[str], str]] = []

        async def work(tx: object) -> None:
            shop.trade = type(shop.trade)(
                **{f: getattr(shop.trade, f) for f in shop.trade.__slots__} | {"db": OneTransaction(tx)}
            )
            if one_by_one:
                answers = [(await flow.place(shop.trade, [ask]))[0] for ask in asks]
            else:
                answers = await flow.place(shop.trade, asks)
            said = [
                f"{names[answer.id]} {answer.status} {answer.valid_until} {answer.replayed}"
                if isinstance(answer, Order)
                else answer.code
                for answer in answers
            ]
            shop.db = shop.trade.db
            seen.append((said, await shop.balance(shop.float)))
            raise Never

        kept = shop.trade, shop.db
        with pytest.raises(Never):
            await pool.transaction(work)
        shop.trade, shop.db = kept
        return seen[0]

    assert await day(one_by_one=False) == await day(one_by_one=True)


def test_bad_input_is_a_refusal_of_its_row() -> None:
    assert issubclass(BadInput, RefillError)
