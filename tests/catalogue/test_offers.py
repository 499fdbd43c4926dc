"""What is on sale, at which price, through whom: exact to the smallest coin, and refused with a sentence."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from refill.catalogue import HOME, Catalogue, Route, load, offers, refresh
from refill.db import Pool
from refill.errors import NotForSale
from refill.money import Money, money


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=2).open()
    yield pool
    await pool.close()


@pytest.fixture
async def catalogue(db: Pool) -> Catalogue:
    return await db.transaction(load)


def test_the_four_chinese_operators_and_our_own_are_there_from_the_start(catalogue: Catalogue) -> None:
    operators = catalogue.operators()
    assert [operator.id for operator in operators] == ["cmcc", "cunicom", "ctcc", "cbn", "demo"]
    assert operators[0].name_zh == "中国移动"
    assert operators[0].name_en == "China Mobile"
    assert [operator.id for operator in operators if operator.own_network] == ["demo"]
    faces = [offer.face.text() for offer in catalogue.offers("cmcc")]
    assert faces == ["10.00", "20.00", "30.00", "50.00", "100.00", "200.00", "300.00", "500.00"]


def test_a_person_pays_the_retail_price_and_a_supplier_delivers(catalogue: Catalogue) -> None:
    quote = catalogue.quote("cmcc", money("100 CNY"))
    assert (quote.product, quote.supplier) == ("cmcc-100", "northtel")
    assert (quote.price, quote.cost) == (money("99.60 CNY"), money("99.20 CNY"))
    assert (quote.days, quote.policy) == (0, "never")
    assert catalogue.quote("cmcc", money("100 CNY")) is quote


def test_a_partner_pays_the_face_value_less_its_commission(catalogue: Catalogue) -> None:
    assert catalogue.quote("cmcc", money("50 CNY"), commission_bp=40).price == money("49.80 CNY")
    assert catalogue.quote("cmcc", money("50 CNY"), commission_bp=0).price == money("50 CNY")
    assert catalogue.quote("demo", money("1.25 CNY"), commission_bp=40).price == Money(125, "CNY")  # 0.5 fen: to even
    assert catalogue.quote("demo", money("3.75 CNY"), commission_bp=40).price == Money(373, "CNY")  # 1.5 fen: to even


def test_our_own_network_delivers_at_home_and_gives_days(catalogue: Catalogue) -> None:
    quote = catalogue.quote("demo", money("50 CNY"))
    assert (quote.supplier, quote.cost, quote.price) == (HOME, None, money("49.80 CNY"))
    assert (quote.product, quote.days, quote.policy) == ("demo-50", 60, "from_expiry")


def test_an_amount_without_a_denomination_falls_into_the_span(catalogue: Catalogue) -> None:
    assert catalogue.quote("demo", money("51 CNY")).product == "demo-any"
    assert catalogue.quote("demo", money("50 CNY"), product="demo-any").product == "demo-any"
    assert catalogue.offers("demo")[-1].kind == "range"


@pytest.mark.parametrize(
    ("operator", "face", "product", "says"),
    [
        ("nobody", "50 CNY", None, "do not sell"),
        ("cmcc", "51 CNY", None, "on sale: 10.00, 20.00"),
        ("cmcc", "50 USD", None, "sold in CNY"),
        ("cmcc", "50 CNY", "demo-50", "no product"),
        ("cmcc", "50 CNY", "cmcc-51", "no product"),
        ("cmcc", "50 CNY", "cmcc-100", "not at 50.00"),
        ("demo", "0.99 CNY", None, "does not sell"),
        ("demo", "500.01 CNY", None, "does not sell"),
    ],
)
def test_what_is_not_on_sale_is_refused_with_a_sentence(
    catalogue: Catalogue, operator: str, face: str, product: str | None, says: str
) -> None:
    with pytest.raises(NotForSale, match=says):
        catalogue.quote(operator, money(face), product=product)


def test_nothing_is_sold_for_nothing(catalogue: Catalogue) -> None:
    with pytest.raises(NotForSale, match="too little"):
        catalogue.quote("demo", money("1 CNY"), commission_bp=10_000)


def test_a_catalogue_asked_for_very_many_prices_does_not_grow_for_ever(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "_QUOTES_KEPT", 10)
    prices = [catalogue.quote("demo", Money(minor, "CNY"), commission_bp=0).price.minor for minor in range(100, 150)]
    assert prices == list(range(100, 150))
    assert len(catalogue._quotes) <= 10


async def test_a_change_is_seen_at_the_next_look_and_only_then_read_again(db: Pool, dsn: str) -> None:
    before = await db.transaction(load)
    assert await db.transaction(lambda tx: refresh(tx, before)) is before
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE catalogue_product SET retail_price_minor = 4900 WHERE id = 'cmcc-50'")
    after = await db.transaction(lambda tx: refresh(tx, before))
    assert after.quote("cmcc", money("50 CNY")).price == money("49 CNY")
    assert before.quote("cmcc", money("50 CNY")).price == money("49.90 CNY")
    assert after.version > before.version


async def test_what_is_switched_off_is_not_sold(db: Pool, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE catalogue_operator SET enabled = false WHERE id = 'cbn'")
        connection.execute("UPDATE catalogue_product SET enabled = false WHERE id = 'cmcc-50'")
        connection.execute("UPDATE catalogue_supply SET enabled = false WHERE operator_id = 'ctcc'")
    catalogue = await db.transaction(load)
    assert "cbn" not in [operator.id for operator in catalogue.operators()]
    for operator, says in [("cbn", "do not sell"), ("cmcc", "does not sell"), ("ctcc", "No supplier")]:
        with pytest.raises(NotForSale, match=says):
            catalogue.quote(operator, money("50 CNY"))


async def test_the_preferred_supplier_is_first_and_the_others_stand_behind_it(db: Pool, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("""
            INSERT INTO catalogue_supply (id, operator_id, product_id, supplier, cost_minor, cost_bp, priority, enabled)
            VALUES ('a', 'cmcc', 'cmcc-50', 'southtel', 4800, 10000, 5, true),
                   ('b', 'cmcc', NULL, 'easttel', NULL, 9950, 20, true)
        """)
    catalogue = await db.transaction(load)
    assert catalogue.quote("cmcc", money("50 CNY")).supplier == "southtel"
    assert catalogue.routes("cmcc", "cmcc-50", money("50 CNY")) == (
        Route("southtel", money("48 CNY")),
        Route("northtel", money("49.60 CNY")),
        Route("easttel", money("49.75 CNY")),
    )
    assert catalogue.quote("cmcc", money("100 CNY")).supplier == "northtel"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE catalogue_product SET face_minor = 0 WHERE id = 'cmcc-50'",
        "UPDATE catalogue_product SET max_face_minor = 1 WHERE id = 'demo-any'",
        "UPDATE catalogue_product SET max_face_minor = NULL WHERE id = 'demo-any'",
        "UPDATE catalogue_product SET retail_price_minor = 0 WHERE id = 'cmcc-50'",
        "UPDATE catalogue_product SET retail_bp = 0 WHERE id = 'cmcc-50'",
        "UPDATE catalogue_product SET validity_policy = 'sometimes' WHERE id = 'cmcc-50'",
        "UPDATE catalogue_product SET validity_days = 4000 WHERE id = 'cmcc-50'",
        "UPDATE catalogue_supply SET cost_bp = 0 WHERE operator_id = 'cmcc'",
        "UPDATE catalogue_supply SET cost_minor = 1 WHERE operator_id = 'cmcc'",
        "UPDATE catalogue_operator SET colour = 'red'",
        "DELETE FROM catalogue_operator WHERE id = 'cmcc'",
    ],
)
def test_a_nonsensical_change_is_refused_by_the_table_itself(dsn: str, change: str) -> None:
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute(change.encode())
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
