"""The developers' pages in a real browser: they can be read by everybody, and their examples run where they stand."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from tests.doors.browser import A_DESK, A_PHONE, accessible, needs_chromium, started, visiting
from tests.doors.conftest import House

from refill import accounts, ledger
from refill.db import Tx
from refill.money import Money

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def key(house: House) -> str:
    """A partner's key, with money behind it."""
    trade = house.trade

    async def create(tx: Tx) -> str:
        partner, key = await accounts.create_partner(tx, trade.world, trade.vault, "Reader of pages")
        account, now = accounts.float_account(partner.id, "CNY"), trade.world.db_now()
        await ledger.open_accounts(tx, [ledger.Account(account, 0)], now)
        deposit = trade.world.new_id("de", ledger.cell_of_account(account))
        money = Money(100_000, "CNY")
        await ledger.post(tx, [ledger.Entry.of(f"{deposit}.deposit", ("bank:demo/CNY", account, money.minor))], now)
        return key

    return house.ask(trade.db.transaction(create))


@pytest.mark.parametrize("device", [A_PHONE, A_DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_the_pages(browser: Browser, house: House, device: dict[str, object], scheme: str) -> None:
    with visiting(browser, house, **device, color_scheme=scheme) as page:
        page.goto("/developers")
        expect(page.get_by_role("heading", level=1)).to_have_text("开发者文档")
        page.evaluate("document.querySelectorAll('#placeTopup details').forEach(each => { each.open = true; })")
        accessible(page)
        page.goto("/problems/insufficient_funds")
        expect(page.get_by_text("请先加款")).to_be_visible()
        accessible(page)
        page.get_by_role("link", name="English").click()
        expect(page.get_by_text("Add to your float")).to_be_visible()


def test_an_example_runs_in_the_page_and_its_answer_leads_to_the_next(browser: Browser, house: House, key: str) -> None:
    number = house.facts.active[-1]
    with visiting(browser, house, **A_DESK, locale="en-GB") as page:
        page.goto("/developers")
        place = page.locator("#placeTopup")
        place.get_by_text("Run it here").click()
        run = place.get_by_role("button")
        run.click()
        expect(place.locator(".said")).to_have_text("Paste your key at the top of the page first.")
        page.get_by_label("Your key").fill(key)
        body = place.get_by_label("Body")
        body.fill(body.input_value().replace("+8619912345678", number.e164))
        run.click()
        expect(place.locator(".said")).to_have_text("HTTP 201")
        expect(place.locator("pre").last).to_contain_text('"status": "succeeded"')
        run.click()
        expect(place.locator(".said")).to_have_text("HTTP 200")
        expect(place.locator("pre").last).to_contain_text("idempotent-replayed: true")
        look = page.locator("#getTopup")
        look.get_by_text("Run it here").click()
        look.get_by_role("button").click()
        expect(look.locator(".said")).to_have_text("HTTP 200")
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert key not in page.url
        assert page.context.cookies() == []


def test_what_was_refused_is_shown_as_it_came(browser: Browser, house: House, key: str) -> None:
    with visiting(browser, house, **A_PHONE) as page:
        page.goto("/developers")
        page.get_by_label("你的密钥").fill(key)
        number = page.locator("#getNumber")
        number.get_by_text("在这里运行").click()
        number.get_by_role("textbox", name="msisdn").fill("12345")
        number.get_by_role("button").click()
        expect(number.locator(".said")).to_have_text("HTTP 422")
        expect(number.locator("pre").last).to_contain_text("/problems/not_a_number")
