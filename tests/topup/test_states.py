"""The two machines as tables: every legal move, every illegal one, and no timer that rings without anything to do."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worlds import MORNING

from refill.money import money
from refill.topup import Rules
from refill.topup.order import Attempt, Dossier, Order, Payment, Refund
from refill.topup.states import BORN, EDGES, PARK, POLL, after, due_of, is_final, legal, next_poll, next_step

PAYMENTS = "unpaid captured refund_pending refunded expired disputed".split()
DELIVERIES = "quoted ready dispatching delivered partial parked unknown failed reversed".split()

# transition | before → after, several of either joined by "|"
LEGAL = """
    placed         (nothing)                            → unpaid/quoted
    held           (nothing)                            → captured/ready
    sold           (nothing)                            → captured/delivered
    sold           unpaid/quoted                        → captured/delivered
    paid           unpaid/quoted                        → captured/ready
    expired        unpaid/quoted                        → expired/quoted
    sent           captured/ready                       → captured/dispatching
    unsure         captured/dispatching|unknown         → captured/unknown
    unsure         disputed/dispatching|unknown         → disputed/unknown
    retry          captured/dispatching|unknown         → captured/ready
    parked         captured/ready|dispatching|unknown   → captured/parked
    resumed        captured/parked                      → captured/ready
    delivered      captured/dispatching|unknown         → captured/delivered
    delivered      disputed/dispatching|unknown         → disputed/delivered
    partial        captured/dispatching|unknown         → captured|refund_pending/partial
    partial        disputed/dispatching|unknown         → disputed/partial
    failed         captured/ready|dispatching|unknown|parked → refund_pending|refunded/failed
    stopped        disputed/dispatching|unknown         → disputed/failed
    overdue        captured/dispatching|unknown         → refund_pending|refunded/unknown
    late_success   refund_pending|refunded/unknown|failed → captured|refund_pending|refunded/delivered
    late_success   refund_pending|refunded/unknown|failed → refund_pending|refunded/partial
    proven_failed  refund_pending|refunded/unknown      → refund_pending|refunded/failed
    goodwill       captured/delivered                   → refund_pending|captured|refunded/delivered
    goodwill       captured/partial                     → refund_pending|captured|refunded/partial
    refunded       refund_pending/failed                → refunded/failed
    refunded       refund_pending/unknown               → refunded/unknown
    refunded       refund_pending/reversed              → refunded/reversed
    refunded       refund_pending/partial               → refunded|captured|disputed/partial
    refunded       refund_pending/delivered             → refunded|captured|disputed/delivered
    reversed       captured/delivered                   → refund_pending|refunded/reversed
    reversed       refunded/delivered                   → refunded/reversed
    disputed       captured/ready                       → disputed/ready
    disputed       captured/parked                      → disputed/parked
    disputed       captured/dispatching                 → disputed/dispatching
    disputed       captured/unknown                     → disputed/unknown
    disputed       captured/delivered                   → disputed/delivered
    disputed       captured/partial                     → disputed/partial
    dispute_won    disputed/ready                       → captured/ready
    dispute_won    disputed/parked                      → captured/parked
    dispute_won    disputed/dispatching                 → captured/dispatching
    dispute_won    disputed/unknown                     → captured/unknown
    dispute_won    disputed/delivered                   → captured/delivered
    dispute_won    disputed/partial                     → captured|refund_pending/partial
    dispute_won    disputed/failed                      → refund_pending/failed
    dispute_lost   disputed/delivered                   → refunded|captured/delivered
    dispute_lost   disputed/partial                     → refunded|captured|refund_pending/partial
    dispute_lost   disputed/ready|parked|failed         → refunded|refund_pending/failed
    dispute_lost   disputed/dispatching|unknown         → refunded|captured/unknown
    dispute_lost   refund_pending/failed                → refunded|refund_pending/failed
    dispute_lost   refund_pending/unknown               → refunded|refund_pending/unknown
    dispute_lost   refund_pending/reversed              → refunded|refund_pending/reversed
    dispute_lost   refund_pending/partial               → refunded|refund_pending|captured/partial
    dispute_lost   refund_pending/delivered             → refunded|refund_pending|captured/delivered
"""


def pairs(text: str) -> set[tuple[str, str]]:
    if text == "(nothing)":
        return {("", "")}
    payments, deliveries = text.split("/")
    return set(product(payments.split("|"), deliveries.split("|")))


ALLOWED = {
    (transition, before, end)
    for line in LEGAL.strip().splitlines()
    for transition, rest in [line.split(None, 1)]
    for before in pairs(rest.split("→")[0].strip())
    for end in pairs(rest.split("→")[1].strip())
}
STATES = [("", ""), *product(PAYMENTS, DELIVERIES)]


@pytest.mark.parametrize("transition", sorted(EDGES))
def test_a_move_is_legal_where_the_table_says_so_and_nowhere_else(transition: str) -> None:
    for before, end in product(STATES, product(PAYMENTS, DELIVERIES)):
        assert legal(transition, *before, *end) == ((transition, before, end) in ALLOWED), (before, end)


def test_the_table_names_every_transition() -> None:
    assert {transition for transition, _, _ in ALLOWED} == set(EDGES)
    assert {transition for transition, before, _ in ALLOWED if before == ("", "")} == BORN


FINAL = """
    captured/delivered  captured/partial  refunded/failed  refunded/delivered  refunded/reversed  refunded/partial
    expired/quoted
"""


@pytest.mark.parametrize("state", list(product(PAYMENTS, DELIVERIES)), ids="/".join)
def test_an_order_is_final_when_money_and_credit_have_both_come_to_rest(state: tuple[str, str]) -> None:
    if state[0] == "expired":
        assert is_final(*state)
    else:
        assert is_final(*state) == ("/".join(state) in FINAL.split())


# ------------------------------------------------------------------ what an order says to a client

STATUS = """
    unpaid/quoted           processing  pending
    expired/quoted          cancelled   final
    captured/ready          processing  pending
    captured/dispatching    processing  pending
    captured/parked         processing  pending
    captured/unknown        processing  unknown
    refund_pending/unknown  failed      provisional
    refunded/unknown        failed      provisional
    captured/delivered      succeeded   final
    refund_pending/delivered succeeded  pending
    refund_pending/partial  partial     pending
    captured/partial        partial     final
    refund_pending/failed   failed      pending
    refunded/failed         failed      final
    refunded/reversed       reversed    final
    disputed/ready          processing  pending
    disputed/unknown        processing  unknown
    disputed/delivered      succeeded   pending
    refunded/delivered      succeeded   final
"""


@pytest.mark.parametrize("line", STATUS.strip().splitlines())
def test_two_machines_read_as_one_status(line: str) -> None:
    state, status, certainty = line.split()
    payment, delivery = state.split("/")
    order = an_order(payment=payment, delivery=delivery)
    order = order.but(final_at=MORNING if is_final(payment, delivery) else None)
    assert (order.status, order.certainty) == (status, certainty)


# ------------------------------------------------------------------ schedules

SECONDS = """
    POLL   0    15
    POLL   4    120
    POLL   99   120
    PARK   0    60
    PARK   99   600
"""


@pytest.mark.parametrize("line", SECONDS.strip().splitlines())
def test_waits_grow_and_the_last_one_goes_on_for_ever(line: str) -> None:
    name, n, seconds = line.split()
    assert after({"POLL": POLL, "PARK": PARK}[name], int(n)) == timedelta(seconds=int(seconds))


def at(text: str) -> "timedelta":
    """ "+90" seconds after ten o'clock."""
    return timedelta(seconds=int(text))


def an_order(**changes: object) -> Order:
    fifty, price = money("50.00 CNY"), money("49.80 CNY")
    order = Order(
        "tu_1m80fpm803zz000000000001", 4095, "guest:anna", "portal", "number", "cmcc", "cmcc-50", "northtel", fifty,
        price, 4960, 0, "never", None, "unpaid", "quoted", MORNING,
    )  # fmt: skip
    return order.but(**changes)


def a_payment(**changes: object) -> Payment:
    expires = MORNING + timedelta(minutes=15)
    payment = Payment("tu", 1, "alipay", "page", "tu_p1", money("49.80 CNY"), "open", MORNING, expires, 0, MORNING)
    return replace(payment, **changes)  # type: ignore[arg-type]


def an_attempt(**changes: object) -> Attempt:
    attempt = Attempt("tu", 1, "northtel", "tu_a1", "prepared", MORNING, MORNING, MORNING + timedelta(seconds=40))
    return replace(attempt, **changes)  # type: ignore[arg-type]


def a_refund(**changes: object) -> Refund:
    price = money("49.80 CNY")
    refund = Refund(
        "tu",
        1,
        "alipay",
        "tu_p1",
        "seller",
        "2026",
        4980,
        price,
        "owed:customers/CNY",
        "tu_r1",
        "due",
        "order",
        MORNING,
    )
    return replace(refund, **changes)  # type: ignore[arg-type]


def test_a_poll_is_planned_no_later_than_the_order_lapses() -> None:
    order = an_order(expires_at=MORNING + timedelta(seconds=900))
    late = a_payment(polls=9)
    assert next_poll(late, order, MORNING + timedelta(seconds=100)) == MORNING + timedelta(seconds=220)
    assert next_poll(late, order, MORNING + timedelta(seconds=850)) == MORNING + timedelta(seconds=900)
    assert next_poll(late, order, MORNING + timedelta(seconds=900)) == MORNING + timedelta(seconds=1020)
    paid = order.but(payment="captured", delivery="ready")
    assert next_poll(late, paid, MORNING + timedelta(seconds=850)) == MORNING + timedelta(seconds=970)


# state of the order, its timers, and what moves around it, at ten o'clock (+0) | when due | what is done then
STEPS = """
    unpaid/quoted          expires+900                          | +900  | nothing
    unpaid/quoted          expires+0                            | +0    | Expire
    unpaid/quoted          expires+900 payment:open+15          | +15   | nothing
    unpaid/quoted          expires+900 payment:open+0           | +0    | Poll
    unpaid/quoted          expires+0   payment:open+0           | +0    | Close
    unpaid/quoted          expires-60  payment:open+15          | +15   | nothing
    unpaid/quoted          expires-60  payment:closed           | -60   | Expire
    expired/quoted                                              | never | nothing
    expired/quoted         payment:open+0                       | +0    | Close
    expired/quoted         refund:due+0                         | +0    | AskRefund
    captured/ready         wake+0      deadline+86400           | +0    | Send
    captured/ready         wake+60     deadline+86400           | +60   | nothing
    captured/ready         wake+0      deadline+0               | +0    | GiveUp
    captured/ready         wake+0      payment:open+0           | +0    | Send
    captured/parked        wake+60     deadline+86400           | +60   | nothing
    captured/parked        wake+0      deadline+86400           | +0    | Resume
    disputed/ready         wake+0      deadline+0               | never | nothing
    disputed/parked        wake+0      deadline+0               | never | nothing
    disputed/unknown       attempt:unknown+0    deadline-40 end-1 | +0  | Inquire
    disputed/delivered     attempt:done                         | never | nothing
    captured/parked        wake+60     deadline+0               | +0    | GiveUp
    captured/dispatching   attempt:prepared+45  deadline+86400  | +45   | nothing
    captured/dispatching   attempt:prepared+0   deadline+86400  | +0    | Inquire
    captured/unknown       attempt:unknown+0    deadline+86400  | +0    | Inquire
    captured/unknown       attempt:unknown+99   deadline+0      | +40   | nothing
    captured/unknown       attempt:unknown+99   deadline-40 end-1 | -1  | Overdue
    refund_pending/unknown attempt:unknown+60   refund:sent+30  | +30   | nothing
    refund_pending/unknown attempt:unknown+0    refund:sent+30  | +0    | Inquire
    refund_pending/unknown attempt:unknown+0    refund:due+0    | +0    | AskRefund
    refunded/unknown       attempt:unknown      refund:done     | never | nothing
    refund_pending/failed  attempt:refused      refund:stuck    | never | nothing
    refund_pending/failed  attempt:refused      refund:cancelled | never | nothing
    captured/delivered     attempt:done                         | never | nothing
    captured/delivered     attempt:done  payment:open+0         | +0    | Close
"""


def read_dossier(words: list[str]) -> Dossier:
    payment, delivery = words[0].split("/")
    order = an_order(payment=payment, delivery=delivery)
    payments, attempts, refunds = [], [], []
    end = timedelta(seconds=40)
    for word in words[1:]:
        what, sign, seconds = word.partition("+") if "+" in word else word.partition("-")
        rings = MORNING + at(sign + seconds) if seconds else None
        match what.split(":"):
            case ["expires"]:
                order = order.but(expires_at=rings)
            case ["wake"]:
                order = order.but(wake_at=rings)
            case ["deadline"]:
                order = order.but(deadline=rings)
            case ["end"]:
                end = at(sign + seconds)
            case ["payment", state]:
                payments.append(a_payment(state=state, poll_at=rings))
            case ["attempt", state]:
                attempts.append(an_attempt(state=state, inquire_at=rings))
            case ["refund", state]:
                refunds.append(a_refund(state=state, ask_at=rings))
    attempts = [replace(attempt, hard_end=MORNING + end) for attempt in attempts]
    return Dossier(order, tuple(payments), tuple(attempts), tuple(refunds))


@pytest.mark.parametrize("line", [line.strip() for line in STEPS.strip().splitlines()])
def test_when_a_timer_rings_the_most_urgent_thing_is_done(line: str) -> None:
    words, due, step = (part.strip() for part in line.split("|"))
    dossier = read_dossier(words.split())
    assert due_of(dossier, Rules()) == (None if due == "never" else MORNING + at(due))
    taken = next_step(dossier, MORNING)
    assert type(taken).__name__ == ("NoneType" if step == "nothing" else step)


# Times around now, so that every timer may have rung or not; an order that was taken has timers in every combination.
times = st.one_of(st.none(), st.sampled_from([-60, -1, 0, 1, 60]).map(lambda s: MORNING + timedelta(seconds=s)))
sure_times = st.sampled_from([-60, 0, 60]).map(lambda s: MORNING + timedelta(seconds=s))
dossiers = st.builds(
    Dossier,
    st.builds(
        lambda state, expires, deadline, wake: an_order(
            payment=state[0], delivery=state[1], expires_at=expires, deadline=deadline, wake_at=wake
        ),
        st.sampled_from(list(product(PAYMENTS, DELIVERIES))),
        times,
        times,
        times,
    ),
    st.lists(
        st.builds(
            lambda state, poll: a_payment(state=state, poll_at=poll),
            st.sampled_from(["open", "captured", "closed"]),
            times,
        ),
        max_size=2,
    ).map(tuple),
    st.lists(
        st.builds(
            lambda state, ask, end: an_attempt(state=state, inquire_at=ask, hard_end=end),
            st.sampled_from(["prepared", "unknown", "done", "refused"]),
            times,
            sure_times,
        ),
        max_size=1,
    ).map(tuple),
    st.lists(
        st.builds(
            lambda state, ask: a_refund(state=state, ask_at=ask),
            st.sampled_from(["due", "sent", "done", "cancelled", "stuck"]),
            times,
        ),
        max_size=2,
    ).map(tuple),
)


@given(dossiers)
@settings(max_examples=2000, deadline=None)
def test_a_timer_that_rang_always_has_something_to_do_and_nothing_is_done_without_one(dossier: Dossier) -> None:
    """Else an order would be taken again and again, or wait for ever."""
    due = due_of(dossier, Rules())
    assert (next_step(dossier, MORNING) is not None) == (due is not None and due <= MORNING)
