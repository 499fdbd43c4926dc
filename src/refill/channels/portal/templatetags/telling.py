"""How values of the trade are written on a page: money, time that is left, a network's name."""

from django import template
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from refill.channels.portal.desk import Network
from refill.money import EXPONENT, Money

register = template.Library()
SIGN = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


@register.filter
def cash(money: Money) -> str:
    """With its sign and all decimals: ¥49.80; a currency without a sign of its own: 49.80 KES."""
    sign = SIGN.get(money.currency)
    return f"{sign}{money.text()}" if sign else str(money)


@register.filter
def short(money: Money) -> str:
    """Without decimals that say nothing: 50, 49.80."""
    whole, rest = divmod(money.minor, 10 ** EXPONENT[money.currency])
    return money.text() if rest else str(whole)


@register.filter
def face(money: Money) -> str:
    """A face value as people say it: 50元, ¥50, 500 KES."""
    if money.currency == "CNY" and get_language() != "en":
        return f"{short(money)}元"
    return f"{SIGN[money.currency]}{short(money)}" if money.currency in SIGN else f"{short(money)} {money.currency}"


@register.filter
def clock(seconds: int) -> str:
    """A span of time as a countdown shows it: 14:32."""
    return f"{seconds // 60}:{seconds % 60:02}"


@register.filter
def span(seconds: int) -> str:
    """How long something takes, as people write it: 20 s, 2 min, 4 h."""
    if seconds < 120:
        return _("%(n)s s") % {"n": seconds}
    if seconds < 7200:
        return _("%(n)s min") % {"n": seconds // 60}
    return _("%(n)s h") % {"n": seconds // 3600}


@register.filter
def named(network: Network) -> str:
    """The operator's name in the reader's language."""
    return network.name_en if get_language() == "en" else network.name_zh
