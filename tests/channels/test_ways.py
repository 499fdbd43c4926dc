"""Which ways to pay a device is offered, and in which order."""

from dataclasses import dataclass

import pytest

from refill.channels.portal.ways import LOOKS, Way, device, find, firsts, ways
from refill.outcome import Outcome
from refill.payments import Can
from refill.world import World

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1"


@dataclass(frozen=True)
class Named:
    """As much of a method as the page looks at."""

    can: Can
    currencies: frozenset[str] = frozenset({"CNY"})


METHODS = {
    "beans": Named(Can(scenes=("page",))),
    "card": Named(Can(scenes=("page", "wap")), frozenset({"CNY", "EUR"})),
    "cash": Named(Can(scenes=("till",)), frozenset({"CNY", "EUR"})),
    "wechat_pay": Named(Can(scenes=("qr", "wap", "jsapi", "barcode"))),
    "alipay": Named(Can(scenes=("page", "wap", "qr"))),
    "voucher": Named(Can(scenes=("inside",))),
}


@pytest.mark.parametrize(
    ("user_agent", "on"),
    [
        (PHONE, "phone"),
        (f"{PHONE} MicroMessenger/8.0.61(0x18003d28)", "wechat"),
        (f"{PHONE} AlipayClient/10.7.60", "alipay"),
        ("Mozilla/5.0 (Linux; Android 15; Tablet) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "phone"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "desktop"),
        ("", "desktop"),
    ],
)
def test_a_browser_says_what_it_is(user_agent: str, on: str) -> None:
    assert device(user_agent) == on


@pytest.mark.parametrize(
    ("on", "offered"),
    [
        ("desktop", "alipay.qr alipay.page wechat_pay.qr card.page voucher.inside beans.page"),
        ("phone", "alipay.wap alipay.qr wechat_pay.wap wechat_pay.qr card.wap voucher.inside beans.page"),
        ("wechat", "wechat_pay.qr alipay.qr alipay.page card.page voucher.inside beans.page"),
        ("alipay", "alipay.wap alipay.qr wechat_pay.qr card.page voucher.inside beans.page"),
    ],
)
def test_each_device_is_offered_what_works_on_it_the_method_at_home_first(on, offered: str) -> None:
    assert " ".join(way.text for way in ways(METHODS, "CNY", on)) == offered  # type: ignore[arg-type]


@dataclass(frozen=True)
class Asking(Named):
    """A method whose firm tells who a person is."""

    asks_who: bool = True

    def who_url(self, return_url: str, state: str) -> str:
        raise NotImplementedError

    async def who(self, world: World, code: str) -> Outcome[str]:
        raise NotImplementedError


def test_inside_wechat_our_page_hands_the_payment_over_once_wechat_tells_who_is_there() -> None:
    at_home = METHODS["wechat_pay"].can
    methods = {"wechat_pay": Asking(at_home), "alipay": METHODS["alipay"]}
    assert [way.text for way in ways(methods, "CNY", "wechat")] == [  # type: ignore[arg-type]
        "wechat_pay.jsapi",
        "wechat_pay.qr",
        "alipay.qr",
        "alipay.page",
    ]
    assert "wechat_pay.jsapi" not in [way.text for way in ways(methods, "CNY", "phone")]  # type: ignore[arg-type]
    silent = {"wechat_pay": Asking(at_home, asks_who=False)}
    assert [way.text for way in ways(silent, "CNY", "wechat")] == ["wechat_pay.qr"]  # type: ignore[arg-type]


def test_only_methods_that_take_the_currency_are_offered() -> None:
    assert [way.text for way in ways(METHODS, "EUR", "phone")] == ["card.wap"]  # type: ignore[arg-type]


def test_each_method_stands_once_in_the_list_by_its_best_way() -> None:
    offered = ways(METHODS, "CNY", "desktop")  # type: ignore[arg-type]
    assert [
        way.text for way in firsts(offered)
    ] == "alipay.qr wechat_pay.qr card.page voucher.inside beans.page".split()
    assert find(offered, "alipay.page") == Way("alipay", "page")
    assert find(offered, "alipay.wap") is None


def test_a_method_without_words_appears_under_its_name() -> None:
    look = Way("magic_beans", "page").look
    assert (look.name, look.glyph) == ("Magic Beans", "M")
    assert "magic_beans" not in LOOKS
