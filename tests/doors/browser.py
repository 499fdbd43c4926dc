"""What tests in a real browser share: starting it, what every page must be, and what a person does on ours."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from tests.doors.conftest import House

CHROMIUM = "/usr/bin/chromium"
needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed")
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"
A_PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "user_agent": PHONE}
A_DESK = {"viewport": {"width": 1280, "height": 800}}

expect.set_options(timeout=20_000)  # two browsers and two databases may share one slow core


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A browser, for one module: while Playwright runs, no other event loop can run in this thread."""
    # As root, in a container: no sandbox of its own, and no small /dev/shm.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextlib.contextmanager
def visiting(browser: Browser, house: House, **device: Any) -> Iterator[Page]:
    """A page that speaks Chinese unless told otherwise; every complaint of the browser is a failure."""
    context: BrowserContext = browser.new_context(**{"locale": "zh-CN", "base_url": house.url, **device})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if _complains(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def _complains(message: ConsoleMessage) -> bool:
    # That a form comes back with a sentence (422) or a question (409) is meant, and Chromium mentions it.
    return message.type in ("error", "warning") and not re.search(r"status of (409|422)", message.text)


def accessible(page: Page) -> None:
    """No finding of axe, nothing to scroll sideways, and every target as large as a fingertip."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"
    small = page.evaluate("""() => [...document.querySelectorAll("button, a, input:not([type=hidden]), select, summary")]
        .filter(each => each.checkVisibility() && each.offsetHeight > 1 && !each.closest(".sr-only, p, dd"))
        .map(each => [each.closest("label") ?? each, each])
        .filter(([target, each]) => target.getBoundingClientRect().height < 44 && each.type !== "radio")
        .map(([target]) => target.outerHTML.slice(0, 90))""")
    assert small == [], "smaller than 44 px"


def choose(page: Page, number: str, amount: str = "50元") -> None:
    """Types a number as a person does, picks an amount, and comes to the confirm page."""
    page.goto("/")
    page.get_by_label("手机号码").press_sequentially(number.replace(" ", ""), delay=15)
    expect(page.get_by_label("手机号码")).to_have_value(number)
    page.locator(".tile", has_text=re.compile(rf"^\s*{amount}")).click()
    page.get_by_role("button", name="下一步").click()
    page.wait_for_url("**/confirm")


def order_of(page: Page) -> str:
    """The id of the order whose page is open."""
    found = re.search("tu_[0-9a-z]{24}", page.url)
    assert found, page.url
    return found[0]


def pay_at_gateway(page: Page, house: House) -> None:
    """Presses Pay on the firm's own page, which leads back to us at once, or by one more press."""
    page.wait_for_url(lambda url: not url.startswith(house.url))
    page.locator("form button").first.click()
    page.wait_for_url(lambda url: url.startswith(house.url) or url.endswith("/pay"))
    if page.url.endswith("/pay"):
        page.locator("form button").last.click()
    page.wait_for_url(re.compile(r"/o/tu_[0-9a-z]{24}(\?|$)"))


def credited(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("已到账", timeout=60_000)
