"""Ways to pay: which of them a person's device can use, which stands first, and how each is called and drawn.

A new method appears by its file on `payments/`; here it only gets its words. One without words appears under its name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from refill.payments import AsksWho, Method

Device = Literal["desktop", "phone", "wechat", "alipay"]  # the last two: inside the browser of that app

# How a person pays, best first: a desktop shows a code to scan, a phone opens the firm's app or page. Of two scenes that
# both leave our page only the better one is offered.
SCENES: Mapping[Device, tuple[str, ...]] = {
    "desktop": ("inside", "qr", "page"),
    "phone": ("inside", "wap", "page", "qr"),
    "wechat": ("inside", "jsapi", "qr", "page"),  # WeChat's H5 page refuses its own app
    "alipay": ("inside", "wap", "qr", "page"),
}
AT_HOME: Mapping[Device, str] = {"wechat": "wechat_pay", "alipay": "alipay"}  # whose app it is
STAYING = ("qr", "inside")  # the person stays on our page
BRIDGE = "jsapi"  # our page hands the payment to the app around it, once the firm has told who the person is


@dataclass(frozen=True, slots=True)
class Look:
    """A method as a person knows it: its name, what choosing it means, and a tile with one character or a drawn sign."""

    name: Promise | str
    means: Promise | str = ""
    colour: str = "#50605a"
    glyph: str = ""
    sign: str = ""  # the path of a drawing on a 28 px tile, where no character says it
    scan: Promise | str = ""  # how its code is scanned
    secret: Promise | str = ""  # what is typed to pay inside; nothing: one press is enough


LOOKS: Mapping[str, Look] = {
    "alipay": Look(
        _("Alipay"),
        _("with the Alipay app"),
        "#1668dc",
        "支",
        scan=_("Open Alipay, tap Scan and point it at this code."),
    ),
    "wechat_pay": Look(
        _("WeChat Pay"),
        _("with the WeChat app"),
        "#0a7d46",
        "微",
        scan=_("Open WeChat, tap +, then Scan, and point it at this code."),
    ),
    "jd_pay": Look(
        _("JD Pay"),
        _("with a JD account"),
        "#c8161d",
        "京",
        scan=_("Open the JD app, tap Scan and point it at this code."),
    ),
    "card": Look(
        _("Bank card"),
        _("Visa, Mastercard, others"),
        "#3b4a8f",
        sign="M6.5 10.5a2 2 0 0 1 2-2h11a2 2 0 0 1 2 2v7.5a2 2 0 0 1-2 2h-11a2 2 0 0 1-2-2ZM6.5 12.5h15M9.5 17h4",
    ),
    "wallet": Look(
        _("Refill wallet"),
        _("from the money you keep with us"),
        "#00704f",
        sign="M7 11V9.8A1.8 1.8 0 0 1 8.8 8H18v3M7 11h12.5a1.5 1.5 0 0 1 1.5 1.5V19a1.5 1.5 0 0 1-1.5 1.5h-11"
        "A1.5 1.5 0 0 1 7 19ZM17.3 15.7h.2",
    ),
    "voucher": Look(
        _("Voucher"),
        _("with a scratch-card PIN"),
        "#8a5300",
        secret=_("PIN of the voucher"),
        sign="M6.5 9h15v3.2a1.9 1.9 0 0 0 0 3.6V19h-15v-3.2a1.9 1.9 0 0 0 0-3.6ZM16.5 11v.6M16.5 13.7v.6M16.5 16.4v.6",
    ),
}


@dataclass(frozen=True, slots=True)
class Way:
    """One method in one scene, as the page offers it and names it in addresses: `alipay.qr`."""

    method: str
    scene: str
    hint: str = ""  # what there is to say about it today: the balance of a wallet

    @property
    def text(self) -> str:
        return f"{self.method}.{self.scene}"

    @property
    def look(self) -> Look:
        return LOOKS.get(self.method) or Look(
            self.method.replace("_", " ").title(), glyph=self.method[:1].upper() or "?"
        )

    @property
    def stays(self) -> bool:
        """The person pays on our own page, or scans a code from it."""
        return self.scene in STAYING


def device(user_agent: str) -> Device:
    """What the page is shown on, as far as it tells us."""
    if "MicroMessenger" in user_agent:
        return "wechat"
    if "AlipayClient" in user_agent:
        return "alipay"
    return "phone" if "Mobile" in user_agent or "Android" in user_agent else "desktop"


def ways(methods: Mapping[str, Method], currency: str, on: Device) -> list[Way]:
    """Every way that a device can use for a currency: the methods in the order of their looks, each best scene first."""
    usable = [name for name, method in methods.items() if currency in method.currencies]
    known = list(LOOKS)
    usable.sort(key=lambda name: (name != AT_HOME.get(on), known.index(name) if name in known else len(known), name))
    return [Way(name, scene) for name in usable for scene in _scenes(name, _possible(methods[name]), on)]


def _possible(method: Method) -> list[str]:
    """What a method can, as it is set up: to pay in the firm's app, the firm must tell us who the person is."""
    asks_who = isinstance(method, AsksWho) and method.asks_who
    return [scene for scene in method.can.scenes if scene != BRIDGE or asks_who]


def _scenes(method: str, scenes: Iterable[str], on: Device) -> list[str]:
    """Inside one firm's app no other firm's app opens: there only the code for another phone helps, or a plain page."""
    abroad = on in AT_HOME and method != AT_HOME[on]
    order = [scene for scene in (SCENES["desktop"] if abroad else SCENES[on]) if scene in scenes]
    leaving = [scene for scene in order if scene not in STAYING]
    return [scene for scene in order if scene not in leaving[1:]]


def firsts(offered: Iterable[Way]) -> list[Way]:
    """The best way of each method."""
    best: dict[str, Way] = {}
    for way in offered:
        best.setdefault(way.method, way)
    return list(best.values())


def find(offered: Iterable[Way], text: str) -> Way | None:
    """The offered way of that name."""
    return next((way for way in offered if way.text == text), None)
