"""Finding orders, by everything that a person may hold in their hands."""

import psycopg
import pytest
from tests.topup.shop import Shop

from refill import ledger, numbers
from refill.errors import CannotHappen, NotFound
from refill.ids import make_id
from refill.money import money
from refill.numbers import msisdn
from refill.operators import Delivery
from refill.outcome import Done
from refill.topup import flow, store
from refill.topup.order import order_of, payment_reference, refund_id, request_id
from refill.topup.store import Changes, Mark

HOUR = 3600


async def test_orders_are_found_in_the_order_in_which_they_are_asked(shop: Shop) -> None:
    one, two = await shop.placed(shop.ask()), await shop.placed(shop.partners_ask())
    ids = [two.id, "tu_nonsense", one.id, flow.new_order_id(shop.trade, "x"), "su" + one.id[2:], two.id]
    found = await store.find(shop.trade, ids)
    assert [order.id if order else None for order in found] == [two.id, None, one.id, None, None, two.id]
    assert await store.find(shop.trade, []) == []
    assert await store.find(shop.trade, ["", "北京"]) == [None, None]


async def test_what_was_saved_is_what_is_found(shop: Shop) -> None:
    for order in (await shop.placed(shop.partners_ask(reference="R-1")), await shop.placed(shop.ask())):
        assert await shop.order(order.id) == order


async def test_the_latest_orders_of_a_number_come_first(shop: Shop) -> None:
    placed = []
    for _ in range(3):
        placed.append(await shop.placed(shop.ask()))
        shop.world.clock += shop.trade.rules.send_window
    await shop.placed(shop.ask("138 0013 8000"))
    number = shop.number("139 1234 5678")
    found = await store.by_number(shop.trade, number)
    assert [order.id for order in found] == [order.id for order in reversed(placed)]
    assert len(await store.by_number(shop.trade, number, limit=2)) == 2


async def test_one_search_box_takes_numbers_orders_and_every_reference(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.tick()
    theirs = (await shop.attempt(order.id)).their_id
    assert theirs
    for text in ("13912345678", " +86 139-1234-5678 ", order.id, f"{order.id}a1", f"{order.id}p1", f" {theirs}"):
        assert [found.id for found in await store.search(shop.trade, text)] == [order.id], text
    for text in ("", "13800000000", "nobody", f"{make_id('tu', 1, 0, 0)}a1"):
        assert await store.search(shop.trade, text) == []


async def test_a_timeline_tells_everything_about_one_order(shop: Shop) -> None:
    shop.plug_in_notices()
    order = await shop.guest_pays("139 1234 0007")
    await shop.wait(60)
    told = await shop.timeline(order.id)
    assert told.msisdn == msisdn("139 1234 0007")
    assert [event.transition for event in told.events] == ["placed", "paid", "sent", "partial", "refunded"]
    assert [len(rows) for rows in (told.attempts, told.payments, told.captures, told.refunds)] == [1, 1, 1, 1]
    assert len(told.transfers) == 4
    assert {notice.source for notice in told.notices} == {"payments:alipay", "operators:northtel"}
    await shop.db.transaction(lambda tx: numbers.erase(tx, order.number))
    assert (await shop.timeline(order.id)).msisdn is None
    with pytest.raises(NotFound):
        await shop.timeline(flow.new_order_id(shop.trade, "x"))


async def test_a_mark_moves_with_every_step(shop: Shop) -> None:
    waiting, moving = await shop.placed(shop.ask()), await shop.placed(shop.ask("138 0013 8000"))
    ids = [waiting.id, "tu_nonsense", moving.id, flow.new_order_id(shop.trade, "x")]
    before = await store.marks(shop.trade, ids)
    assert before == {waiting.id: Mark(1, True), moving.id: Mark(1, True)}
    await flow.cancel(shop.trade, moving.id)
    await shop.wait(60)
    assert await store.marks(shop.trade, ids) == {waiting.id: Mark(1, True), moving.id: Mark(2, False)}
    assert await store.marks(shop.trade, []) == {}


async def test_a_subscriber_sees_what_the_phone_has(shop: Shop) -> None:
    await shop.placed(shop.partners_ask())
    view = await store.subscriber_view(shop.trade, msisdn("138 0013 8000"))
    assert view is not None
    assert (view.state, str(view.balance), view.buckets) == ("active", "50.00 CNY", ())
    assert view.active_until is not None and view.grace_until is not None and view.grace_until > view.active_until
    assert await store.subscriber_view(shop.trade, msisdn("139 1234 5678")) is None


async def test_a_subscriber_who_was_never_switched_on_has_no_end(shop: Shop) -> None:
    await shop.sql("UPDATE cards_subscriber SET state = 'stock', active_until = NULL")
    view = await store.subscriber_view(shop.trade, msisdn("138 0013 8000"))
    assert view is not None and view.active_until is None and view.grace_until is None


# ------------------------------------------------------------------ saving


async def test_a_move_that_the_rules_do_not_know_is_refused_by_name(shop: Shop) -> None:
    order = await shop.sent("139 1234 5678")

    async def work(tx: object) -> None:
        changes = Changes(shop.world.db_now(), shop.trade.rules)
        changes.watch(await store.lock(tx, [order.id]))  # type: ignore[arg-type]
        changes.move(order.id, "expired", payment="expired")

    with pytest.raises(CannotHappen, match="captured and delivered cannot be expired"):
        await shop.db.transaction(work)


async def test_an_order_that_moved_under_our_lock_is_an_error_not_a_guess(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")

    async def work(tx: object) -> None:
        changes = Changes(shop.world.db_now(), shop.trade.rules)
        dossiers = await store.lock(tx, [order.id])  # type: ignore[arg-type]
        changes.watch(dossiers)
        changes.seen[order.id] = type(order)(
            **{f: getattr(order, f) for f in order.__slots__} | {"delivery": "dispatching"}
        )
        await changes.save(tx)  # type: ignore[arg-type]

    with pytest.raises(CannotHappen, match="moved while we held its lock"):
        await shop.db.transaction(work)


async def test_what_the_book_refuses_stops_the_whole_change(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    await shop.sql("UPDATE ledger_account SET floor = 0 WHERE name LIKE 'held:%'")
    attempt = await shop.attempt(order.id)
    # Somebody posted this delivery before, with another amount.
    entry = ledger.Entry.of(f"{order.id}.delivered", ("bank:a/CNY", "bank:b/CNY", 1))
    await shop.db.transaction(lambda tx: ledger.post(tx, [entry], shop.world.db_now()))
    delivered = Done(Delivery("N", "8613912340021", money("50.00 CNY")))
    with pytest.raises(CannotHappen, match="other_content"):
        await flow.settle(shop.trade, [flow.Answered(attempt, delivered)])
    assert (await shop.order(order.id)).delivery == "unknown"


async def test_nobody_is_locked_where_nobody_is(shop: Shop) -> None:
    assert await shop.db.transaction(lambda tx: store.lock(tx, ["tu_nobody", flow.new_order_id(shop.trade, "x")])) == []
    assert await shop.db.transaction(lambda tx: store.lock(tx, [])) == []


def test_every_name_of_ours_begins_with_its_order() -> None:
    order = make_id("tu", 7, 1, 2)
    for name in (request_id(order, 3), refund_id(order, 3), payment_reference(order, 3)):
        assert order_of(name) == order and name.endswith("3") and len(name) <= 32


# ------------------------------------------------------------------ what the database itself refuses


BROKEN = """
    UPDATE topup_event SET at = at                                              | append-only
    DELETE FROM topup_event                                                     | append-only
    TRUNCATE topup_event                                                        | append-only
    INSERT INTO topup_event SELECT * FROM topup_event                           | duplicate key
    INSERT INTO topup_order SELECT * FROM topup_order                           | duplicate key
    INSERT INTO topup_capture SELECT * FROM topup_capture                       | duplicate key
    UPDATE topup_order SET refunded_minor = captured_minor + 1                  | check constraint
    UPDATE topup_order SET captured_minor = -1                                  | check constraint
    UPDATE topup_order SET delivered_minor = face_minor + 1                     | check constraint
    UPDATE topup_order SET payment = 'perhaps'                                  | check constraint
    UPDATE topup_order SET delivery = 'perhaps'                                 | check constraint
    UPDATE topup_attempt SET state = 'perhaps'                                  | check constraint
    UPDATE topup_payment SET minor = 0                                          | check constraint
    UPDATE topup_capture SET fate = 'perhaps'                                   | check constraint
"""


@pytest.mark.parametrize("line", [line.strip() for line in BROKEN.strip().splitlines()])
async def test_what_no_program_can_do(shop: Shop, dsn: str, line: str) -> None:
    await shop.guest_pays("139 1234 0021")
    await shop.tick()
    statement, says = (cell.strip() for cell in line.split("|"))
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error, match=says):
        connection.execute(statement.encode())


async def test_an_order_never_has_two_attempts_that_may_still_land(shop: Shop, dsn: str) -> None:
    """Rule 1."""
    await shop.sent("139 1234 0021")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TEMPORARY TABLE second AS SELECT * FROM topup_attempt")
        connection.execute("UPDATE second SET n = 2, request_id = order_id || 'a2', state = 'prepared'")
        with pytest.raises(psycopg.errors.UniqueViolation, match="topup_attempt_open"):
            connection.execute("INSERT INTO topup_attempt SELECT * FROM second")
