"""Price lists: shown before they are applied, applied whole or not at all, effective at their time, and never at a loss."""

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta

import openpyxl
import psycopg
import pytest
from tests.worlds import FixedWorld

from refill.catalogue import Catalogue, importing, load, margins, refresh
from refill.catalogue.importing import Import, Line, PreviewOver
from refill.catalogue.prices import Least
from refill.catalogue.sheets import BadFile
from refill.db import Pool
from refill.db.bulk import Bulk
from refill.errors import BadInput, CannotHappen, NotForSale
from refill.money import Money, money
from refill.operators import PriceLine, PriceList

HEAD = "operator,supplier_product,product,face,max_face,cost,max_cost,cost_currency,valid_from,valid_until\n"
FIFTY = "cmcc,CM50,,50.00,,49.50,,,,\n"
HUNDRED = "cmcc,CM100,,100.00,,99.00,,,,\n"


class Desk:
    """Somebody who keeps prices, with a clock that stands still."""

    def __init__(self, pool: Pool, dsn: str) -> None:
        self.pool, self.bulk, self.world = pool, Bulk(dsn), FixedWorld()

    async def show(self, text: str | bytes, side: str = "cost", *, whole: bool = False) -> Import:
        supplier = "northtel" if side == "cost" else ""
        id_ = await importing.begin(self.pool, self.world, side, supplier, "list.csv", who="li", whole=whole)  # type: ignore[arg-type]
        file = io.BytesIO(text.encode() if isinstance(text, str) else text)
        return await importing.read_file(self.bulk, self.world, id_, file)

    async def take(self, text: str | bytes, side: str = "cost", *, whole: bool = False) -> Import:
        shown = await self.show(text, side, whole=whole)
        return await importing.apply(self.bulk, self.world, shown.id, "wang")

    async def lines(self, of: Import) -> list[Line]:
        return await self.pool.transaction(lambda tx: importing.lines(tx, of.id))

    async def catalogue(self) -> Catalogue:
        return await self.pool.transaction(lambda tx: load(tx, self.world.db_now()))

    async def cost(self, face: str = "50 CNY") -> Money | None:
        return (await self.catalogue()).quote("cmcc", money(face), at=self.world.db_now()).cost

    async def price(self, **buyer: object) -> str:
        quote = (await self.catalogue()).quote("cmcc", money("50 CNY"), at=self.world.db_now(), **buyer)  # type: ignore[arg-type]
        return quote.price.text()

    async def least(self, rule: str, bp: int = 0) -> None:
        now = self.world.db_now()
        await self.pool.transaction(lambda tx: margins.set_least(tx, "", "", Least(bp, 0, rule), "li", now))


@pytest.fixture
async def desk(dsn: str) -> AsyncIterator[Desk]:
    pool = await Pool(dsn, size=2).open()
    yield Desk(pool, dsn)
    await pool.close()


def counts(told: Import) -> tuple[int, ...]:
    """added, changed, removed, unchanged, refused, elsewhere"""
    return told.added, told.changed, told.removed, told.unchanged, told.refused, told.elsewhere


async def test_a_list_is_shown_first_and_then_sells(desk: Desk) -> None:
    shown = await desk.show(HEAD + FIFTY + HUNDRED + "att,X,,10.00,,9,,USD,,\n" + "cmcc,Y,,x,,9,,,,\n")
    assert (shown.state, counts(shown)) == ("previewed", (2, 0, 0, 0, 1, 1))
    assert await desk.cost() == money("49.60 CNY"), "nothing changes by looking"
    applied = await importing.apply(desk.bulk, desk.world, shown.id, "wang")
    assert (applied.state, applied.asked_by, applied.decided_by) == ("applied", "li", "wang")
    assert await desk.cost() == money("49.50 CNY")
    with pytest.raises(NotForSale, match="No supplier"):
        await desk.cost("200 CNY")  # it is not on the list, so this supplier does not sell it
    assert await importing.apply(desk.bulk, desk.world, shown.id, "wang") == applied, "twice is once"
    assert counts(await desk.show(HEAD + FIFTY + HUNDRED)) == (0, 0, 0, 2, 0, 0)


async def test_a_changed_price_tells_what_was_and_a_whole_list_ends_what_is_not_on_it(desk: Desk) -> None:
    await desk.take(HEAD + FIFTY + HUNDRED)
    await desk.world.advance(60)
    cheaper = await desk.show(HEAD + FIFTY.replace("49.50", "49.00"), whole=True)
    assert counts(cheaper) == (0, 1, 1, 0, 0, 0)
    changed, removed = await desk.lines(cheaper)
    assert (changed.outcome, changed.minor, changed.was_minor) == ("changed", 4900, 4950)
    assert (removed.outcome, removed.their_product, removed.was_minor) == ("removed", "CM100", 9900)
    await importing.apply(desk.bulk, desk.world, cheaper.id, "wang")
    assert await desk.cost() == money("49 CNY")
    with pytest.raises(NotForSale):
        await desk.cost("100 CNY")


async def test_a_whole_list_with_rows_that_cannot_be_read_removes_nothing(desk: Desk) -> None:
    await desk.take(HEAD + FIFTY + HUNDRED)
    assert counts(await desk.show(HEAD + FIFTY + "cmcc,CM100,,1e2,,99,,,,\n", whole=True)) == (0, 0, 0, 1, 1, 0)


async def test_a_price_begins_and_ends_at_its_time_without_anybody_writing(desk: Desk) -> None:
    now = desk.world.db_now()
    await desk.take(HEAD + FIFTY)
    tomorrow, later = (now + timedelta(days=n) for n in (1, 2))
    offer = FIFTY.replace("49.50,,,,", f"48.00,,,{tomorrow.isoformat()},{later.isoformat()}")
    assert counts(await desk.take(HEAD + offer)) == (0, 1, 0, 0, 0, 0)
    today = await desk.catalogue()
    assert today.until == tomorrow
    assert await desk.cost() == money("49.50 CNY")
    assert await desk.pool.transaction(lambda tx: refresh(tx, today, now)) is today
    desk.world.clock = tomorrow
    then = await desk.pool.transaction(lambda tx: refresh(tx, today, tomorrow))
    assert then.quote("cmcc", money("50 CNY")).cost == money("48 CNY")
    assert then.until == later
    desk.world.clock = later
    assert await desk.cost() == money("49.50 CNY"), "the offer is over, and what it stood before goes on"


async def test_a_list_for_next_month_survives_a_correction_of_today(desk: Desk) -> None:
    await desk.take(HEAD + FIFTY)
    month = desk.world.db_now() + timedelta(days=30)
    await desk.take(HEAD + FIFTY.replace("49.50,,,,", f"47.00,,,{month.isoformat()},"))
    await desk.world.advance(60)
    await desk.take(HEAD + FIFTY.replace("49.50", "49.40"))
    assert await desk.cost() == money("49.40 CNY")
    desk.world.clock = month
    assert await desk.cost() == money("47 CNY")


async def test_a_preview_that_is_no_longer_true_is_shown_again_instead_of_applied(desk: Desk) -> None:
    mine = await desk.show(HEAD + FIFTY)
    await desk.take(HEAD + FIFTY.replace("49.50", "49.30"))
    with pytest.raises(PreviewOver):
        await importing.apply(desk.bulk, desk.world, mine.id, "li")
    assert await desk.cost() == money("49.30 CNY")
    again = await desk.pool.transaction(lambda tx: importing.find(tx, mine.id))
    assert (again.state, counts(again)) == ("previewed", (0, 1, 0, 0, 0, 0))
    await importing.apply(desk.bulk, desk.world, mine.id, "li")
    assert await desk.cost() == money("49.50 CNY")


async def test_what_was_let_go_is_not_applied_and_what_was_applied_stays_written(desk: Desk, dsn: str) -> None:
    shown = await desk.show(HEAD + FIFTY)
    await desk.pool.transaction(lambda tx: importing.discard(tx, desk.world, shown.id, "li"))
    with pytest.raises(CannotHappen):
        await importing.apply(desk.bulk, desk.world, shown.id, "li")
    applied = await desk.take(HEAD + FIFTY)
    with pytest.raises(CannotHappen):
        await desk.pool.transaction(lambda tx: importing.discard(tx, desk.world, applied.id, "li"))
    for change in (
        "UPDATE catalogue_import SET asked_by = 'nobody' WHERE state = 'applied'",
        "DELETE FROM catalogue_import_line",
        "UPDATE catalogue_price SET minor = 1",
        "DELETE FROM catalogue_price",
    ):
        with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error):
            connection.execute(change.encode())


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("cmcc,A,,50,,=1+1,,,,", "formula"),
        ("cmcc,A,,50,,-49,,,,", "formula"),
        ("cmcc,A,,50,,4.95E+1,,,,", "rounded"),
        ("cmcc,A,,50,,49.501,,,,", "amount"),
        ("cmcc,A,,0,,49,,,,", "amount"),
        ("cmcc,A,,50,,49,,XXX,,", "currency"),
        ("cmcc,A,,50,40,49,,,,", "span"),
        ("cmcc,A,,50,,49,50,,,", "span"),
        ("cmcc,A,,50,,49,,,soon,", "time"),
        ("cmcc,A,,50,,49,,,2026-12-02,2026-12-01", "ends_first"),
        ("cmcc,A,,50,,49,,,,2020-01-01", "over"),
        ("cmcc,A,cmcc-51,50,,49,,,,", "no_product"),
        ("cmcc,A,cmcc-100,50,,49,,,,", "not_that_face"),
        ("cmcc,A,demo-50,50,,49,,,,", "no_product"),
        ('cmcc,"A,,50,,49,,,,', "quote"),
        ("cmcc,A,,50,,49,,,,,,,x", "cells"),
        ("cmcc," + "A" * 300 + ",,50,,49,,,,", "long"),
    ],
)
async def test_a_row_that_makes_no_sense_is_refused_with_a_sentence_and_the_others_go_on(
    desk: Desk, row: str, why: str
) -> None:
    shown = await desk.show(HEAD + row + "\n" + HUNDRED + HUNDRED)
    assert counts(shown) == (1, 0, 0, 0, 2, 0)
    first, second, third = await desk.lines(shown)
    assert (first.n, first.outcome, first.why) == (2, "refused", why)
    assert len(first.says) > 10
    assert (second.outcome, third.why) == ("added", "twice")


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"", "names the columns"),
        (b"operator,face\n", "cost is missing"),
        (b"operator,face,cost,colour\n", "colour is one too many"),
        (b"operator,face,cost,cost\n", "one too many"),
        ("operator,face,cost\n移动".encode("gbk"), "UTF-8"),
        (b"operator,face,cost\nx\0", "NUL"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old or encrypted"),
        (b"PK\x03\x04" + bytes(100), "cannot be read as a spreadsheet"),
    ],
)
async def test_a_file_that_is_no_price_list_is_refused_whole(desk: Desk, file: bytes, says: str) -> None:
    with pytest.raises(BadFile, match=says):
        await desk.show(file)
    (kept,) = await desk.pool.transaction(importing.latest)
    assert (kept.state, kept.rows) == ("unreadable", 0)
    assert says in kept.says


def workbook(*rows: tuple[object, ...]) -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(file)
    return file.getvalue()


async def test_a_spreadsheet_is_read_as_what_was_typed_and_a_formula_never_counts(desk: Desk) -> None:
    shown = await desk.show(
        workbook(
            ("运营商", "供应商产品", "面值", "成本", "生效时间"),
            ("cmcc", "CM50", 50, 49.5, desk.world.clock.replace(tzinfo=None, year=2027)),
            ("cmcc", 100, 100.0, "99.00", None),
            ("cmcc", "CM200", 200, "=100+98", None),
            ("cmcc", "CM300", 300, True, None),
        )
    )
    assert counts(shown) == (2, 0, 0, 0, 2, 0)
    fifty, hundred, formula, truth = await desk.lines(shown)
    assert (fifty.minor, fifty.face_minor, fifty.valid_from and fifty.valid_from.year) == (4950, 5000, 2027)
    assert (hundred.their_product, hundred.minor) == ("100", 9900)
    assert (formula.why, truth.why) == ("formula", "cell")


async def test_a_spreadsheet_that_would_grow_or_declares_entities_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = workbook(("operator", "face", "cost"), ("cmcc", 50, 49))
    bad = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            text = source.read(name)
            if "sheet1" in name:
                text = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]>' + text.partition(b"?>")[2]
            target.writestr(name, text)
    with pytest.raises(BadFile, match="declares"):
        await desk.show(bad.getvalue())
    monkeypatch.setattr("refill.catalogue.sheets.MOST_UNPACKED", 1_000)
    with pytest.raises(BadFile, match="too large"):
        await desk.show(good)


async def test_our_prices_go_from_the_partner_down_to_everybody(desk: Desk, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("""
            INSERT INTO accounts_partner (id, name, currency, commission_bp, credit_limit_minor, status, created_at)
            VALUES ('pa_a', 'A', 'CNY', 40, 0, 'active', '2026-01-01'), ('pa_b', 'B', 'CNY', 40, 0, 'active', '2026-01-01')
        """)
    now = desk.world.db_now()
    await desk.pool.transaction(lambda tx: margins.set_tier(tx, "pa_b", "gold", "li", now))
    applied = await desk.take(
        "operator,product,tier,channel,partner,price,bp\n"
        "cmcc,cmcc-50,,,pa_a,49.71,\n"
        "cmcc,,,,pa_a,,9950\n"
        "*,,gold,,,,9946\n"
        "cmcc,,,portal,,,9970\n"
        "cmcc,cmcc-50,,,,49.95,\n"
        "cmcc,,,,pa_nobody,,9950\n"
        "cmcc,,,,,49.95,\n"
        "cmcc,,Gold,,,,9950\n"
        "cmcc,,,,,,20001\n"
        "cmcc,,,,,1,1\n"
        "nobody,,,,,,9900\n"
        ",cmcc-50,,,,,9900\n",
        "price",
    )
    assert counts(applied) == (5, 0, 0, 0, 7, 0)
    whys = [line.why for line in await desk.lines(applied) if line.outcome == "refused"]
    assert whys == ["no_partner", "needs_product", "word", "bp", "one_price", "no_operator", "whose"]
    partner = {"commission_bp": 40, "channel": "partner_api"}
    assert await desk.price(payer="partner:pa_a", **partner) == "49.71"
    assert await desk.price(payer="partner:pa_b", **partner) == "49.73"
    assert await desk.price(payer="partner:pa_c", **partner) == "49.80", "its commission is the plain case"
    assert await desk.price(channel="portal") == "49.85"
    assert await desk.price() == "49.95"
    catalogue = await desk.catalogue()
    assert catalogue.offers("cmcc", channel="portal")[3].price == money("49.85 CNY")
    assert catalogue.quote("cmcc", money("50 CNY"), payer="guest:1") is catalogue.quote("cmcc", money("50 CNY"))


async def test_a_cost_that_would_be_a_loss_is_told_or_refused(desk: Desk) -> None:
    dear = HEAD + FIFTY.replace("49.50", "50.10")
    told = await desk.show(dear)
    assert (counts(told), told.thin) == ((1, 0, 0, 0, 0, 0), 1)
    await desk.least("refuse", bp=20)
    refused = await desk.show(dear)
    assert counts(refused) == (0, 0, 0, 0, 1, 0)
    assert (await desk.lines(refused))[0].why == "loss"
    assert counts(await desk.show(HEAD + FIFTY.replace("49.50", "49.80"))) == (1, 0, 0, 0, 0, 0), "0.20 % of 50 is 0.10"
    assert counts(await desk.show(HEAD + FIFTY.replace("49.50", "49.81"))) == (0, 0, 0, 0, 1, 0)


async def test_a_price_below_the_lowest_cost_is_refused_too(desk: Desk) -> None:
    await desk.least("refuse")
    head = "operator,product,price,bp\n"
    low = await desk.show(head + "cmcc,cmcc-50,49.59,\ncmcc,cmcc-100,99.20,\ncunicom,,,9919\n", "price")
    assert [line.why for line in await desk.lines(low)] == ["loss", "", "loss"]


async def test_a_loss_is_never_sold_in_silence(desk: Desk, dsn: str) -> None:
    await desk.take(HEAD + FIFTY.replace("49.50", "49.85"))  # the partner of 40 basis points pays 49.80
    catalogue, watch = await desk.catalogue(), margins.Watch()
    assert catalogue.quote("cmcc", money("50 CNY"), commission_bp=40).price == money("49.80 CNY")
    for _ in range(2):
        await watch.look(desk.pool, catalogue, desk.world.db_now())
    with psycopg.connect(dsn) as connection:
        (case,) = connection.execute("SELECT id, says, minor FROM cases_case").fetchall()
    assert (case[0], case[2]) == ("thin_margin:cmcc-50", 5)
    assert "49.85 CNY" in case[1]
    await desk.least("refuse")
    with pytest.raises(NotForSale, match="not on sale at present"):
        (await desk.catalogue()).quote("cmcc", money("50 CNY"), commission_bp=40)
    assert await desk.price() == "49.90"


async def test_the_page_of_margins_shows_what_each_product_leaves(desk: Desk) -> None:
    await desk.take(HEAD + FIFTY.replace("49.50", "49.95"))
    told = {margin.product.id: margin for margin in margins.margins(await desk.catalogue(), desk.world.db_now())}
    assert (told["cmcc-50"].left, told["cmcc-50"].bp, told["cmcc-50"].thin) == (Money(-5, "CNY"), -11, True)
    assert "No supplier" in told["cmcc-100"].why
    assert told["demo-50"].left is None


async def test_a_wire_goes_the_way_of_a_file(desk: Desk) -> None:
    now = desk.world.db_now()
    await desk.pool.transaction(lambda tx: margins.set_alias(tx, "northtel", "CM-CN", "cmcc", "li", now))
    line = {"operator": "CM-CN", "kind": "fixed", "face": money("50 CNY")}
    told = PriceList(
        (
            PriceLine(product="1", cost=money("49.40 CNY"), **line),
            PriceLine(product="2", cost=money("7 USD"), **{**line, "operator": "ATT"}),
        ),
        ("odd",),
    )
    id_ = await importing.begin(desk.pool, desk.world, "cost", "northtel", "wire", who="li", whole=True)
    shown = await importing.read_wire(desk.bulk, desk.world, id_, told)
    assert counts(shown) == (1, 0, 0, 0, 1, 1)
    await importing.apply(desk.bulk, desk.world, id_, "li")
    assert await desk.cost() == money("49.40 CNY")
    with pytest.raises(CannotHappen):
        await importing.read_wire(desk.bulk, desk.world, id_, told)


async def test_a_span_costs_in_proportion_rounded_up_against_us(desk: Desk, dsn: str) -> None:
    await desk.take(HEAD + "cmcc,ANY,,10.00,110.00,9.90,108.90,,,\n")
    assert await desk.cost() == money("49.50 CNY")
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE catalogue_supply SET by_list = true WHERE supplier = 'northtel'")
    await desk.take(HEAD + "ctcc,ANY,,3.00,100.00,2.99,,,,\n")
    quote = (await desk.catalogue()).quote("ctcc", money("50 CNY"))
    assert quote.cost == money("49.84 CNY")  # 49.8333…


async def test_the_answer_of_a_list_is_safe_to_open_in_a_spreadsheet(desk: Desk) -> None:
    shown = await desk.show(HEAD + FIFTY)
    row = dict(zip(importing.RESULT, importing.result_row((await desk.lines(shown))[0]), strict=True))
    assert (row["row"], row["result"], row["cost"], row["currency"]) == ("2", "added", "49.50", "CNY")
    line = (await desk.lines(shown))[0]
    from dataclasses import replace

    assert "'=cmd" in importing.result_row(replace(line, their_product="=cmd"))


async def test_terms_that_make_no_sense_are_refused(desk: Desk) -> None:
    now = desk.world.db_now()
    for work in (
        lambda tx: margins.set_least(tx, "", "cmcc-50", Least(), "li", now),
        lambda tx: margins.set_least(tx, "nobody", "", Least(), "li", now),
        lambda tx: margins.set_least(tx, "", "", Least(20_000), "li", now),
        lambda tx: margins.set_tier(tx, "pa_nobody", "gold", "li", now),
        lambda tx: margins.set_tier(tx, "pa_nobody", "Gold", "li", now),
        lambda tx: margins.set_alias(tx, "northtel", "", "cmcc", "li", now),
        lambda tx: margins.set_alias(tx, "northtel", "x", "nobody", "li", now),
    ):
        with pytest.raises(BadInput):
            await desk.pool.transaction(work)
    with pytest.raises(BadInput):
        await importing.begin(desk.pool, desk.world, "cost", "", "x", who="li")
