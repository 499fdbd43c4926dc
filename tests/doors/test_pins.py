"""PINs through every door: bought by two, read by who paid and nobody else, and in plain in no table and no log."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from html import unescape

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in
from tests.doors.test_no_card_numbers import columns
from tests.doors.test_portal import paid_order, pay

from refill import accounts, catalogue, ledger
from refill.channels.people.staff import add_staff
from refill.db import Tx
from refill.topup import flow

PIN = "cmcc-pin-60"
FIRST = 7_000_000_000_000_001


def supply(house: House) -> None:
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        for table, of, other in (
            ("product", "cmcc-50", {"id": PIN, "category": "pin", "face_minor": 6000}),
            ("supply", "cmcc-northtel", {"id": "cmcc-pins", "product_id": PIN, "supplier": "pins", "priority": 1}),
        ):
            connection.execute(
                f"INSERT INTO catalogue_{table} SELECT (jsonb_populate_record(t, '{json.dumps(other)}')).*"
                f" FROM catalogue_{table} t WHERE id = '{of}' ON CONFLICT DO NOTHING".encode()
            )
    house.trade.shelf.catalogue = house.ask(house.trade.db.transaction(catalogue.load))


@pytest.fixture(scope="module")
def staff(house: House) -> Callable[[str], Visitor]:
    supply(house)
    known: dict[str, Visitor] = {}

    def employ(name: str) -> Visitor:
        if name not in known:
            add_staff(house.dsn, name, PASSWORD)
            known[name] = house.visitor("en")
            assert sign_in(known[name], name, PASSWORD).status_code == 302
        return known[name]

    return employ


def file_of(first: int, count: int) -> bytes:
    rows = [f"S{n},{n},2029-12-31" for n in range(first, first + count)]
    return "\n".join(["serial,pin,expiry", *rows, ""]).encode()


def send_file(visitor: Visitor, file: bytes, **fields: str) -> str:
    page = visitor.get("/staff/pins/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]*)"', page.text)
    assert token
    said = {"product": PIN, "cost": "59.04", "purse": "bank:main", "why": "China Mobile, invoice 17", **fields}
    answer = visitor.client.post(
        "/staff/pins/import",
        data={**said, "csrfmiddlewaretoken": token[1]},
        files={"file": ("pins.csv", file, "text/csv")},
    )
    return unescape(visitor.follow(answer).text)


def do(visitor: Visitor, path: str, on: str = "/staff/pins/", **fields: str) -> str:
    answer = visitor.post(path, fields, visitor.get(on))
    assert answer.status_code in (200, 302), answer.text
    return unescape(visitor.follow(answer).text)


def bought(house: House, staff: Callable[[str], Visitor], first: int, count: int) -> str:
    said = send_file(staff("wang"), file_of(first, count))
    found = re.search(r"confirms the batch (s[0-9a-z]{6})", said)
    assert found, said
    assert "the PINs are in stock" in do(staff("li"), f"/staff/pins/{found[1]}/decide", answer="confirm")
    return found[1]


def buys(house: House, visitor: Visitor, number: str) -> str:
    """A customer's order, paid and delivered; its id."""
    order_id = paid_order(visitor, number, f"{PIN}|60.00")
    pay(house, visitor, order_id)
    for _ in range(200):
        if house.ask(flow.poll(house.trade, order_id)).delivery == "delivered":
            return order_id
        time.sleep(0.05)
    raise AssertionError(house.order(order_id))


def grouped(pin: int) -> str:
    return " ".join(re.findall("....", str(pin)))


def test_a_pin_from_the_file_to_the_phone_lies_in_plain_nowhere(
    house: House,
    staff: Callable[[str], Visitor],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    wang, li, anna = staff("wang"), staff("li"), house.visitor()
    code = bought(house, staff, FIRST, 4)
    assert "was imported before" in send_file(wang, file_of(FIRST, 5))
    page = unescape(li.get("/staff/pins/").text)
    assert code in page and "wang, li" in page and "¥236.16" in page

    order_id = buys(house, anna, "13912345678")
    pin = grouped(FIRST)
    seen = [unescape(anna.get(path).text) for path in (f"/o/{order_id}", f"/o/{order_id}/receipt")]
    assert all(pin in text and f"S{FIRST}" in text and "Your PIN is here" in text for text in seen)
    link = re.search(r'href="https?://[^"/]*(/r/[^"]+)"', seen[1])
    assert link
    other = house.visitor()
    told = unescape(other.follow(other.get(link[1])).text)
    assert "PIN is shown only in the browser" in told and pin not in told

    # Staff see a serial; the PIN only by two, once.
    path = f"/staff/order/{order_id}"
    shown = [unescape(visitor.get(path).text) for visitor in (wang, li)]
    assert all(f"S{FIRST}" in text and "First seen by the payer" in text and pin not in text for text in shown)
    assert "Asked." in do(wang, f"{path}/pin/ask", path, kind="reveal", why="reads it out by telephone")
    assert "not the one who asked" in do(wang, f"{path}/pin/1/decide", path, answer="confirm")
    assert pin not in do(wang, f"{path}/pin/1/show", path)
    assert pin not in do(li, f"{path}/pin/1/decide", path, answer="confirm")
    assert pin not in do(li, f"{path}/pin/1/show", path), "only to who asked"
    assert pin in do(wang, f"{path}/pin/1/show", path)
    assert pin not in do(wang, f"{path}/pin/1/show", path), "once"
    assert "Seen by wang" in unescape(li.get(path).text)

    # It does not work: another is given, by two.
    do(wang, f"{path}/pin/ask", path, kind="replace", why="the customer says it was used")
    assert "it is done" in do(li, f"{path}/pin/2/decide", path, answer="confirm")
    again = unescape(anna.get(f"/o/{order_id}").text)
    assert grouped(FIRST + 1) in again and pin not in again and "replaced by another" in again
    assert "faulty, replaced" in unescape(li.get(path).text)

    # In plain it is nowhere.
    records = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    everything = "\n".join([*records, *capfd.readouterr(), *(text for _, _, text in columns(house.dsn))])
    plain = re.sub("[ -]", "", everything).replace(f"S{FIRST}", "").replace(f"S{FIRST + 1}", "")
    for n in range(4):
        assert not re.search(rf"(?<![0-9S]){FIRST + n}(?![0-9])", plain)
    with psycopg.connect(house.dsn) as connection:
        ((what,),) = connection.execute("SELECT count(*) FROM people_staffact WHERE what = 'look at PIN'").fetchall()
    assert what >= 1


def test_a_partner_reads_its_pins_with_the_scope_alone(house: House, staff: Callable[[str], Visitor]) -> None:
    bought(house, staff, FIRST + 100, 2)

    async def hired(tx: Tx) -> list[str]:
        trade = house.trade
        partner, plain = await accounts.create_partner(tx, trade.world, trade.vault, "Pins & Co", commission_bp=40)
        key = await accounts.create_key(tx, trade.world, trade.vault, partner.id, scopes="topup pins")
        _, other = await accounts.create_partner(tx, trade.world, trade.vault, "Curious", scopes="topup pins")
        float_, now = accounts.float_account(partner.id, "CNY"), trade.world.db_now()
        await ledger.open_accounts(tx, [ledger.Account(float_, 0)], now)
        deposit = trade.world.new_id("de", ledger.cell_of_account(float_))
        await ledger.post(tx, [ledger.Entry.of(f"{deposit}.deposit", ("bank:demo/CNY", float_, 100_000))], now)
        return [key, plain, other]

    key, plain, other = house.ask(house.trade.db.transaction(hired))
    client = house.visitor().client
    wish = {"msisdn": "+8613912345679", "amount": "60.00", "currency": "CNY", "product": PIN, "reference": "P-1"}

    def call(method: str, path: str, key: str, body: object = None):  # type: ignore[no-untyped-def]
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return client.request(method, path, content=json.dumps(body).encode() if body else None, headers=headers)

    for _ in range(100):  # the doors learn of a new key within seconds
        if (placed := call("POST", "/v1/topups", key, wish)).status_code != 401:
            break
    assert placed.status_code == 202, placed.text
    path = f"/v1/topups/{placed.json()['id']}"
    for _ in range(200):
        if (told := call("GET", path, key).json())["status"] == "succeeded":
            break
        time.sleep(0.05)
    assert (told["pin"]["serial"], told["pin"]["expires_on"]) == (f"S{told['pin']['pin']}", "2029-12-31")
    assert call("POST", "/v1/topups", key, wish).json().get("pin") is None, "only where it is asked for"
    assert "pin" not in call("GET", path, plain).json(), "without the scope"
    assert call("GET", path, other).status_code == 404, "another partner's"


@pytest.mark.parametrize(
    ("file", "fields", "says"),
    [
        (b"", {}, "cannot be read"),
        ("序列,卡密".encode("gbk"), {}, "cannot be read"),
        (b"x" * (6 << 20), {}, "cannot be read"),
        (file_of(1, 1), {"cost": "1e9"}, "not an amount"),
        (file_of(1, 1), {"purse": "float:pa_1"}, "Name the account"),
        (file_of(1, 1), {"why": ""}, "Name the account"),
        (file_of(1, 1), {"product": "cmcc-50"}, "supplies no such product"),
        (b"serial,pin,expiry\nS1,12,2029-12-31\n", {}, "No row of this file is new"),
    ],
    ids=["empty", "GBK", "too large", "no amount", "a float", "no reason", "another product", "nothing new"],
)
def test_what_cannot_be_imported_is_told_and_nothing_is_booked(
    house: House, staff: Callable[[str], Visitor], file: bytes, fields: dict[str, str], says: str
) -> None:
    with psycopg.connect(house.dsn) as connection:
        before = connection.execute("SELECT count(*) FROM stock_batch").fetchone()
        assert says in send_file(staff("wang"), file, **fields)
        assert connection.execute("SELECT count(*) FROM stock_batch").fetchone() == before


def test_levels_declining_and_strangers(house: House, staff: Callable[[str], Visitor]) -> None:
    wang = staff("wang")
    bought(house, staff, FIRST + 250, 1)
    said = send_file(wang, file_of(FIRST + 200, 2))
    found = re.search(r"confirms the batch (s[0-9a-z]{6})", said)
    assert found
    assert "not the one who asked" in do(wang, f"/staff/pins/{found[1]}/decide", answer="confirm")
    assert "nothing was booked" in do(wang, f"/staff/pins/{found[1]}/decide", answer="decline")
    assert "The alarm is set." in do(wang, "/staff/pins/level", product=PIN, least="500")
    assert "too few" in unescape(wang.get("/staff/pins/").text)
    for product, least in ((PIN, "-1"), (PIN, "٣"), ("cmcc-50", "3")):
        assert "The alarm is set." not in do(wang, "/staff/pins/level", product=product, least=least)
    do(wang, "/staff/pins/level", product=PIN, least="0")
    assert wang.post("/staff/pins/s000000/decide", {"answer": "confirm"}, wang.get("/staff/pins/")).status_code == 404
    nobody = "/staff/order/tu_000000000000000000000000/pin"
    for step in ("ask", "1/decide", "1/show"):
        assert wang.post(f"{nobody}/{step}", {"why": "x"}, wang.get("/staff/pins/")).status_code == 404
    assert house.visitor().get("/staff/pins/").status_code == 302


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize(("language", "light"), [("zh-CN", "light"), ("en", "dark")])
def test_the_pages_are_accessible(
    chromium: Browser, house: House, staff: Callable[[str], Visitor], light: str, language: str
) -> None:
    first = FIRST + (300 if light == "light" else 400)
    bought(house, staff, first, 2)
    send_file(staff("li"), file_of(first + 50, 2))
    order_id = buys(house, house.visitor(), "13912345670")
    path = f"/staff/order/{order_id}"
    do(staff("li"), f"{path}/pin/ask", path, kind="replace", why="used before")
    with visiting(
        chromium, house, **(A_DESK if light == "dark" else A_PHONE), locale=language, color_scheme=light
    ) as page:
        page.goto("/staff/login/?next=/staff/pins/")
        page.locator("[name=username]").fill("wang")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/pins/")
        for place in ("/staff/pins/", path):
            page.goto(place)
            found = Axe().run(page, context=".staff")
            assert found.violations_count == 0, found.generate_report()
