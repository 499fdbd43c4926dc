"""Exchange rates: exact both ways, rounded half to even once, valid for their time, told once and never changed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refill import cases
from refill.catalogue import Catalogue, Route, load, refresh
from refill.catalogue.rates import Rate, Rates, RateTooOld, Watch, listing, rate, rate_text, read_csv, tell
from refill.db import Pool
from refill.errors import BadInput, CannotHappen
from refill.money import EXPONENT, Money, money

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=2).open()
    yield pool
    await pool.close()


def dollars(text: str = "7.1834", *, begins: datetime = NOW, ends: datetime = NOW + DAY) -> Rate:
    return rate("USD", "CNY", text, valid_from=begins, valid_until=ends, source="our bank")


# ------------------------------------------------------------------ arithmetic

currencies = st.sampled_from(["CNY", "USD", "JPY", "KWD", "IDR"])
ratios = st.builds(Fraction, st.integers(1, 10**12 - 1), st.sampled_from([10**n for n in range(13)]))


def exact(one: Rate, amount: Money) -> Fraction:
    """What an amount is in the other currency, in its minor units, with no rounding at all."""
    units = Fraction(amount.minor, 10 ** EXPONENT[one.base]) * Fraction(one.num, one.den)
    return units * 10 ** EXPONENT[one.quote]


@given(currencies, currencies, ratios, st.integers(-(10**12), 10**12))
def test_an_amount_is_rounded_half_to_even_and_only_once(base: str, quote: str, ratio: Fraction, minor: int) -> None:
    one = Rate(base, quote, ratio.numerator, ratio.denominator, NOW, NOW + DAY)
    amount = Money(minor, base)
    assert one.convert(amount) == Money(round(exact(one, amount)), quote)  # a Fraction rounds half to even


@given(currencies, currencies, ratios, st.integers(0, 10**10), st.integers(1, 20_000))
def test_a_share_of_an_amount_is_rounded_only_once_too(
    base: str, quote: str, ratio: Fraction, minor: int, part: int
) -> None:
    one = Rate(base, quote, ratio.numerator, ratio.denominator, NOW, NOW + DAY)
    amount = Money(minor, base)
    assert one.convert(amount, part, 10_000).minor == round(exact(one, amount) * Fraction(part, 10_000))


@given(currencies, currencies, ratios, st.integers(0, 10**10))
def test_seen_from_the_other_side_it_is_the_same_rate(base: str, quote: str, ratio: Fraction, minor: int) -> None:
    one = Rate(base, quote, ratio.numerator, ratio.denominator, NOW, NOW + DAY)
    assert one.turned().turned() == one
    num, den = one.minor
    assert one.turned().minor == (den, num)
    assert max(num, den) < 2**63, "it is kept in bigints"


def test_a_rate_is_read_and_written_as_people_do() -> None:
    assert (dollars("7.18340").num, dollars("7.18340").den) == (35917, 5000)
    assert [dollars(text).text() for text in ("7.1834", "7", "0.000000000001", "007.10")] == [
        "7.1834",
        "7",
        "0.000000000001",
        "7.1",
    ]
    assert rate_text(1, 3) == "0.333333333333"
    assert dollars().convert(money("7.00 USD")) == money("50.28 CNY")


@pytest.mark.parametrize(
    "text", ["", "0", "0.000", "-7.1", "+7.1", "7,1834", "7.1834e0", "٧.١", "7.1\n", "1.1234567890123", "1234567890"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        dollars(text)


@pytest.mark.parametrize(
    ("base", "quote", "begins", "ends", "source"),
    [
        ("USD", "USD", NOW, NOW + DAY, "bank"),
        ("XXX", "CNY", NOW, NOW + DAY, "bank"),
        ("USD", "cny", NOW, NOW + DAY, "bank"),
        ("USD", "CNY", NOW, NOW, "bank"),
        ("USD", "CNY", NOW.replace(tzinfo=None), NOW + DAY, "bank"),
        ("USD", "CNY", NOW, NOW + DAY, " "),
        ("USD", "CNY", NOW, NOW + DAY, "a\nbank"),
    ],
    ids=["same", "unknown", "lower case", "no time", "no zone", "no source", "line break"],
)
def test_a_rate_names_two_currencies_its_time_and_its_source(
    base: str, quote: str, begins: datetime, ends: datetime, source: str
) -> None:
    with pytest.raises(BadInput):
        rate(base, quote, "7.1", valid_from=begins, valid_until=ends, source=source)


# ------------------------------------------------------------------ which rate it is


def test_each_rate_holds_until_it_runs_out_or_the_next_one_begins() -> None:
    rates = Rates([dollars("7.2", begins=NOW + DAY / 2, ends=NOW + 2 * DAY), dollars("7.1")])
    assert rates.at("USD", "CNY", NOW).text() == "7.1"
    assert rates.at("USD", "CNY", NOW + DAY / 2 - timedelta(microseconds=1)).text() == "7.1"
    assert rates.at("USD", "CNY", NOW + DAY / 2).text() == "7.2"
    for moment in (NOW - timedelta(microseconds=1), NOW + 2 * DAY):
        with pytest.raises(RateTooOld, match="too old"):
            rates.at("USD", "CNY", moment)
    assert rates.at("CNY", "USD", NOW).convert(money("7.10 CNY")) == money("1.00 USD")
    with pytest.raises(RateTooOld):
        rates.at("EUR", "CNY", NOW)


# ------------------------------------------------------------------ telling


async def test_what_was_told_is_there_with_who_told_it_and_stays(db: Pool, dsn: str) -> None:
    assert await db.transaction(lambda tx: tell(tx, [dollars()], "anna", NOW)) == 1
    assert await db.transaction(lambda tx: tell(tx, [dollars()], "anna", NOW)) == 0, "the same again is no news"
    (told,) = await db.transaction(listing)
    assert (told.rate, told.who, told.told_at) == (dollars(), "anna", NOW)
    with pytest.raises(CannotHappen, match="told otherwise"):
        await db.transaction(lambda tx: tell(tx, [dollars("7.19")], "ben", NOW))
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.RestrictViolation):
        connection.execute("UPDATE catalogue_rate SET num = num + 1")


@pytest.mark.parametrize("text", ["71.834", "0.71834"])
async def test_a_slip_of_the_finger_is_asked_about(db: Pool, text: str) -> None:
    later = NOW + timedelta(hours=1)
    await db.transaction(lambda tx: tell(tx, [dollars()], "anna", NOW))
    with pytest.raises(CannotHappen, match="by more than 10 %"):
        await db.transaction(lambda tx: tell(tx, [dollars(text, begins=later)], "anna", NOW))
    assert len(await db.transaction(listing)) == 1
    await db.transaction(lambda tx: tell(tx, [dollars(text, begins=later)], "anna", NOW, anyway=True))
    assert len(await db.transaction(listing)) == 2


async def test_a_rate_that_is_over_or_comes_from_nobody_is_refused(db: Pool) -> None:
    with pytest.raises(BadInput, match="over already"):
        await db.transaction(lambda tx: tell(tx, [dollars(begins=NOW - 2 * DAY, ends=NOW)], "anna", NOW))
    with pytest.raises(BadInput, match="who"):
        await db.transaction(lambda tx: tell(tx, [dollars()], " ", NOW))
    with pytest.raises(CannotHappen, match="told otherwise"):
        await db.transaction(lambda tx: tell(tx, [dollars("7.1"), dollars("7.2")], "anna", NOW))
    assert await db.transaction(listing) == []


HEAD = "base,quote,rate,valid_from,valid_until,source\n"


def test_a_file_of_rates_is_read_whole() -> None:
    text = "\ufeff" + HEAD + "USD,CNY,7.1834,,2026-11-23T10:00:00+08:00,our bank\n\nEUR,CNY,8.3,2026-11-22T03:00:00Z,"
    text += "2026-11-23T02:00:00Z,ECB\n"
    first, second = read_csv(text.splitlines(), NOW)
    assert first == dollars()
    assert (second.base, second.text(), second.valid_from) == ("EUR", "8.3", NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("", "Line 1: The first line"),
        ("base,quote,rate\n", "Line 1: The first line"),
        (
            HEAD + "USD,CNY,7.1,,2026-11-23T02:00:00Z,bank\nUSD,CNY,seven,,2026-11-23T02:00:00Z,bank\n",
            "Line 3: 'seven'",
        ),
        (HEAD + "USD,CNY,7.1,,tomorrow,bank\n", "Line 2: 'tomorrow' is not a time"),
        (HEAD + "USD,CNY,7.1,,2026-11-23T02:00:00,bank\n", "Line 2: '2026-11-23T02:00:00' is not a time"),
        (HEAD + "USD,CNY,7.1\n", "Line 2: there are 3 columns"),
        (HEAD + '"USD,CNY', "Line 2: "),
    ],
    ids=["empty", "other columns", "no rate", "no time", "no zone", "short", "open quote"],
)
def test_a_file_that_is_wrong_anywhere_is_refused_with_its_line(rows: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_csv(rows.splitlines(keepends=True), NOW)


def test_a_file_has_an_end() -> None:
    row = "USD,CNY,7.1,,2026-11-23T02:00:00Z,bank\n"
    with pytest.raises(BadInput, match="at most 10,000"):
        read_csv([HEAD, *[row] * 10_001], NOW)


# ------------------------------------------------------------------ what it does to quotes


async def abroad(db: Pool, dsn: str, *, cost_minor: int | None = 700, behind: bool = False) -> Catalogue:
    """cmcc-50 bought in dollars; with `behind` northtel still stands behind it, in yuan."""
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE catalogue_supply SET enabled = %s WHERE operator_id = 'cmcc'", [behind])
        connection.execute(
            "INSERT INTO catalogue_supply (id, operator_id, product_id, supplier, cost_minor, cost_bp, cost_currency,"
            " priority, enabled) VALUES ('abroad', 'cmcc', 'cmcc-50', 'easttel', %s, 9900, 'USD', 1, true)",
            [cost_minor],
        )
    return await db.transaction(load)


async def test_a_supplier_abroad_is_quoted_in_its_own_currency_at_a_rate_that_is_valid(db: Pool, dsn: str) -> None:
    await db.transaction(lambda tx: tell(tx, [dollars()], "anna", NOW))
    catalogue = await abroad(db, dsn)
    quote = catalogue.quote("cmcc", money("50 CNY"), at=NOW)
    assert (quote.price, quote.cost, quote.rate) == (money("49.90 CNY"), money("7.00 USD"), dollars())
    assert (catalogue.abroad(), catalogue.billed()["easttel"]) == ({("USD", "CNY")}, {"USD"})
    with pytest.raises(RateTooOld):
        catalogue.quote("cmcc", money("50 CNY"), at=NOW + DAY)
    assert catalogue.quote("ctcc", money("50 CNY")).rate is None, "others need no moment"


async def test_a_share_of_the_face_value_is_what_the_rate_makes_of_it(db: Pool, dsn: str) -> None:
    await db.transaction(lambda tx: tell(tx, [dollars()], "anna", NOW))
    quote = (await abroad(db, dsn, cost_minor=None)).quote("cmcc", money("50 CNY"), at=NOW)
    assert quote.cost == money("6.89 USD")  # 49.50 / 7.1834 = 6.8908…


async def test_a_supplier_whose_rate_is_too_old_is_passed_over(db: Pool, dsn: str) -> None:
    catalogue = await abroad(db, dsn, behind=True)
    assert catalogue.routes("cmcc", "cmcc-50", money("50 CNY"), at=NOW) == (Route("northtel", money("49.60 CNY")),)
    await db.transaction(lambda tx: tell(tx, [dollars()], "anna", NOW))
    catalogue = await db.transaction(lambda tx: refresh(tx, catalogue))
    assert catalogue.quote("cmcc", money("50 CNY"), at=NOW).supplier == "easttel"
    assert catalogue.quote("cmcc", money("50 CNY"), at=NOW + DAY).supplier == "northtel", "no answer outlives its rate"


async def test_staff_are_told_before_a_rate_runs_out_and_the_case_closes_by_itself(db: Pool) -> None:
    watch, needed = Watch(), {("USD", "CNY")}
    rates = Rates([dollars()])

    async def waiting() -> list[str]:
        return [case.id for case in await db.transaction(cases.open_cases)]

    await watch.look(db, rates, set(), NOW)
    await watch.look(db, rates, needed, NOW)
    assert await waiting() == []
    await watch.look(db, rates, needed, NOW + DAY - timedelta(hours=1))
    await watch.look(db, rates, needed, NOW + DAY)
    assert await waiting() == ["rate_old:USD/CNY"]
    told = Rates([dollars(), dollars("7.2", begins=NOW + DAY, ends=NOW + 2 * DAY)])
    await watch.look(db, told, needed, NOW + DAY)
    assert await waiting() == []
