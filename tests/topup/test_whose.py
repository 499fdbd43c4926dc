"""Before anybody pays: whose a number is, whether anybody has it, and what a payer should look at twice."""

from datetime import timedelta

import pytest
from tests.topup.shop import Shop

from refill import numbers
from refill.lookups import asker
from refill.numbers import Belief, msisdn
from refill.simulators.lookup import LookupSimulator
from refill.topup import whose
from refill.topup.whose import CHOSEN, Told, cautions, seller_for
from refill.world import Request, Response

FIRM = "https://lookup.example"
SECRET = "known to both sides"
DAY = timedelta(days=1)
ANNA = "guest:anna"


@pytest.fixture
def firm(shop: Shop) -> LookupSimulator:
    """A look-up that is asked whose a number is, and of China Mobile's and Telecom's whether anybody has it."""
    firm = LookupSimulator(**shop.world.surroundings(), secret=SECRET, base_url=FIRM)
    shop.world.route(FIRM, firm.handle)
    said = {"hlr_json_url": FIRM, "hlr_json_key": "refill", "hlr_json_secret": SECRET, "lookup_warns": "cmcc ctcc"}
    asks = asker(said)
    shop.trade.lookups.lookups = asks.lookups
    shop.trade.lookups.warns = asks.warns
    return firm


async def told(shop: Shop, typed: str, chosen: str | None = None, *, ask: bool = True) -> Told:
    return await whose.whose(shop.trade, msisdn(typed), chosen, ask=ask)


async def codes(shop: Shop, typed: str, payer: str = ANNA, chosen: str | None = None, **more: str) -> list[str]:
    found = await cautions(shop.trade, payer, msisdn(typed), await told(shop, typed, chosen), **more)
    assert all(msisdn(typed).digits[2:] not in caution.says for caution in found)
    return [caution.code for caution in found]


SELLERS = """
    typed           | chosen   | learnt | seller
    138 0013 8000   |          |        | demo
    138 0013 8000   | cmcc     |        | demo
    139 1234 5678   |          |        | cmcc
    139 1234 5678   |          | ctcc   | ctcc
    139 1234 5678   | cunicom  | ctcc   | cunicom
    165 1234 5678   |          |        | None
"""


@pytest.mark.parametrize("line", [line.strip() for line in SELLERS.strip().splitlines()[1:]])
async def test_whose_credit_a_number_takes(shop: Shop, line: str) -> None:
    typed, chosen, learnt, seller = (cell.strip() for cell in line.split("|"))
    if learnt:
        await shop.placed(shop.ask(typed))
        await shop.taught(typed, learnt)
    assert str(await seller_for(shop.trade, msisdn(typed), chosen or None)) == seller


async def test_a_look_up_tells_whose_a_ported_number_is_and_is_remembered(shop: Shop, firm: LookupSimulator) -> None:
    found = await told(shop, "138 1234 0051")
    assert (found.operator, found.belief.source, found.belief.ported) == ("ctcc", "look_up", True)
    assert found.state == "active"
    asked = list(firm.asked)
    assert await told(shop, "138 1234 0051") == found
    assert firm.asked == asked == [("whose", "8613812340051"), ("alive", "8613812340051")]
    order = await shop.placed(shop.ask("138 1234 0051"))
    assert order.operator == "ctcc", "the hot route uses what was asked before"
    assert firm.asked == asked


async def test_nobody_is_asked_about_what_is_known_better(shop: Shop, firm: LookupSimulator) -> None:
    await told(shop, "138 0013 8000")  # our own subscriber
    shop.trade.lookups.warns = frozenset()
    await told(shop, "138 1234 0051", "cunicom")
    await shop.placed(shop.ask("139 1234 0052"))
    await shop.taught("139 1234 0052", "cmcc")
    assert (await told(shop, "139 1234 0052")).operator == "cmcc"
    now = shop.world.db_now()
    number = shop.number("137 1234 0052")
    await shop.db.transaction(lambda tx: numbers.decide(tx, number, "cbn", why="seen", who="li", now=now))
    assert (await told(shop, "137 1234 0052")).operator == "cbn"
    assert (await told(shop, "136 1234 0051", ask=False)).operator == "cmcc"
    assert firm.asked == []


async def test_an_outcome_of_long_ago_is_checked(shop: Shop, firm: LookupSimulator) -> None:
    await shop.placed(shop.ask("139 1234 0052"))
    await shop.taught("139 1234 0052", "cmcc")
    await shop.world.advance(130 * 86_400)
    assert (await told(shop, "139 1234 0052")).belief.source == "look_up"


@pytest.mark.parametrize("end", ["0055", "0056", "0057", "0058", "0059", "0060"])
async def test_without_an_answer_all_goes_on_as_if_nobody_had_been_asked(
    shop: Shop, firm: LookupSimulator, end: str
) -> None:
    if end == "0055":

        async def slow(request: Request) -> Response:
            assert request.timeout_s <= 1.5, "the caller's own end"
            return Response(504, {}, b"")

        shop.world.route(f"{FIRM}/", slow)
    found = await told(shop, f"138 1234 {end}")
    assert (found.operator, found.belief.source, found.belief.doubted) == ("cmcc", "prefix", False)
    assert found.state in (None, "active")
    asked = len(firm.asked)
    await told(shop, f"138 1234 {end}")
    assert len(firm.asked) == asked, "nor again while a person types"
    assert (await shop.placed(shop.ask(f"138 1234 {end}"))).operator == "cmcc"


async def test_whether_anybody_has_it_is_asked_where_a_rule_says_so(shop: Shop, firm: LookupSimulator) -> None:
    assert (await told(shop, "138 1234 0053")).state == "dead"
    assert (await told(shop, "138 1234 0054")).state == "absent"
    assert (await told(shop, "130 1234 0053")).state is None, "China Unicom has no such rule here"
    assert (await told(shop, "130 1234 0053", "cmcc")).state == "dead"
    shop.trade.lookups.lookups = ()
    assert (await told(shop, "134 1234 0053")).state is None


async def test_a_dead_number_is_warned_of_and_still_taken(shop: Shop, firm: LookupSimulator) -> None:
    assert await codes(shop, "138 1234 0053") == ["dead", "first_time"]
    assert (await shop.placed(shop.ask("138 1234 0053"))).payment == "unpaid"


async def test_a_number_that_its_operator_disowned_is_asked_about(shop: Shop) -> None:
    await shop.sent("138 1234 0012")  # refused: not our subscriber
    found = await told(shop, "138 1234 0012")
    assert found.belief == Belief("cmcc", "prefix", doubted=True)
    assert await codes(shop, "138 1234 0012") == ["operator_unsure", "first_time"]
    assert (await told(shop, "138 1234 0012", "ctcc")).belief.source == CHOSEN


async def test_the_first_time_and_one_digit_off_are_told_by_indexes_alone(shop: Shop) -> None:
    paid = await shop.guest_pays("139 1234 5678")
    assert await codes(shop, "139 1234 5678") == []
    assert await codes(shop, "139 1234 5679") == ["one_digit_off"]
    assert await codes(shop, "139 1234 5687") == ["one_digit_off"], "two digits that changed places"
    assert await codes(shop, "139 1243 5687") == ["first_time"]
    assert await codes(shop, "139 1234 5679", "guest:bob") == ["first_time"], (
        "another's recipients are nobody's business"
    )
    reference = {"reference": paid.reference} if paid.reference else {}
    assert await codes(shop, "139 1234 5678", **reference) == []
    (near,) = await cautions(shop.trade, ANNA, msisdn("139 1234 5679"), await told(shop, "139 1234 5679"))
    assert near.number == "139****5678"


async def test_a_wish_that_is_being_repeated_is_no_former_top_up(shop: Shop) -> None:
    await shop.placed(shop.partners_ask("139 1234 5678", reference="wish-1"))
    payer = f"partner:{shop.partner}"
    assert await codes(shop, "139 1234 5678", payer, reference="wish-1") == ["first_time"]
    assert await codes(shop, "139 1234 5678", payer) == []


async def test_an_unpaid_order_makes_nobody_a_recipient(shop: Shop) -> None:
    await shop.guests_order("139 1234 5678")
    assert await codes(shop, "139 1234 5678") == ["first_time"]


async def test_a_number_that_rested_for_long_may_be_somebody_elses(shop: Shop) -> None:
    await shop.sent("139 1234 5678")
    payer = f"partner:{shop.partner}"
    await shop.world.advance(179 * 86_400)
    assert await codes(shop, "139 1234 5678", payer) == []
    await shop.world.advance(2 * 86_400)
    assert await codes(shop, "139 1234 5678", payer) == ["long_unused"]


async def test_a_number_that_changed_operator_since_is_told(shop: Shop, firm: LookupSimulator) -> None:
    await shop.placed(shop.partners_ask("138 1234 0051"))
    payer = f"partner:{shop.partner}"
    assert await codes(shop, "138 1234 0051", payer) == ["other_operator"]
    assert await codes(shop, "138 1234 0051", payer, "ctcc") == [], "who chose it knows"


async def test_a_number_that_our_own_network_gave_to_somebody_else_is_told(shop: Shop) -> None:
    await shop.placed(shop.partners_ask("138 0013 8000"))
    payer = f"partner:{shop.partner}"
    assert await codes(shop, "138 0013 8000", payer) == []
    await shop.world.advance(60)
    assert shop.subscriber is not None
    newer = shop.world.new_id("su", shop.subscriber.cell)
    await shop.sql("UPDATE cards_subscriber SET id = :id WHERE id = :old", id=newer, old=shop.subscriber.id)
    assert await codes(shop, "138 0013 8000", payer) == ["new_subscriber"]


async def test_numbers_near_a_foreign_one_keep_its_country(shop: Shop) -> None:
    near = whose._near(shop.trade, msisdn("+447400123456"))
    assert {number.digits[:2] for number in near.values()} == {"44"}
    assert 90 < len(near) <= 99
