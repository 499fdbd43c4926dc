"""Money as whole minor units of a currency; the only place where decimal strings become amounts."""

import re

import msgspec

from refill.errors import NotAnAmount

# ISO 4217, table A.1: minor-unit exponents of the currencies that telecom trade meets; everything else is refused.
EXPONENT = {
    **dict.fromkeys(
        "AED AUD BDT BRL CAD CHF CNY CZK DKK EGP EUR GBP GHS HKD IDR ILS INR KES LKR MAD MOP MXN MYR NGN NOK NPR NZD"
        " PEN PHP PKR PLN QAR RUB SAR SEK SGD THB TRY TWD TZS UAH USD UZS ZAR ZMW".split(),
        2,
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLP GNF ISK JPY KMF KRW PYG RWF UGX VND XAF XOF XPF".split(), 0),
}

MAX_MINOR = 10**15 - 1  # fits bigint with room to sum a thousand of them
LONGEST_SHOWN = 12  # characters
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,4}))?")


class Money(msgspec.Struct, frozen=True):
    """`minor` units of `currency`: Money(4980, "CNY") is 49.80 yuan. May be negative inside the books."""

    minor: int
    currency: str

    def text(self) -> str:
        """The plain decimal string of an API: "49.80", "500" for JPY, "1.250" for KWD."""
        return decimal_text(self.minor, self.currency)

    def __str__(self) -> str:
        return f"{self.text()} {self.currency}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same(other), self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.minor <= self._same(other)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise NotAnAmount(f"{other.currency} cannot be added to or compared with {self.currency}.")
        return other.minor


def decimal_text(minor: int, currency: str) -> str:
    """The decimal string of `minor` units: (4980, "CNY") -> "49.80"."""
    exponent = EXPONENT[currency]
    if not exponent:
        return str(minor)
    sign, digits = ("-", -minor) if minor < 0 else ("", minor)
    whole, part = divmod(digits, 10**exponent)
    return f"{sign}{whole}.{part:0{exponent}d}"


def amount(text: object, currency: object) -> Money:
    """Reads a positive decimal string such as "49.80" with its currency; refuses every other shape by name.

    Plain ASCII digits with at most one point; no sign, exponent, space or grouping; at most 15 whole digits; no more
    decimals than the currency has. The length is checked before anything is converted.
    """
    if not isinstance(currency, str) or currency not in EXPONENT:
        raise NotAnAmount(f"{str(currency)[:8]!r} is not a currency we know; use an ISO 4217 code such as CNY.")
    if not isinstance(text, str):
        raise NotAnAmount('An amount is a decimal string such as "50.00", not a JSON number.')
    match = _DECIMAL.fullmatch(text) if len(text) <= 20 else None
    if match is None:
        raise NotAnAmount(f'{_shown(text)} is not an amount; write plain digits such as "50.00".')
    whole, part = match[1], match[2] or ""
    exponent = EXPONENT[currency]
    if len(part) > exponent:
        raise NotAnAmount(f"{currency} has {exponent} decimals; {_shown(text)} has {len(part)}.")
    minor = int(whole + part.ljust(exponent, "0"))
    if not 0 < minor <= MAX_MINOR:
        raise NotAnAmount(
            f"{_shown(text)} {currency} is out of range: the amount must be above zero and below 10^15 units."
        )
    return Money(minor, currency)


def _shown(text: str) -> str:
    """What was typed, but nothing as long as the number of a payment card."""
    return repr(text) if len(text) <= LONGEST_SHOWN else "what you sent"


def money(text: str) -> Money:
    """Reads "49.80 CNY", the form used in tests, settings and on the command line."""
    number, _, currency = text.partition(" ")
    return amount(number, currency)


def share(whole_minor: int, part: int, of: int) -> int:
    """`whole_minor` × `part` / `of`, rounded half to even, in integers; for partial refunds (DOMAIN rule 8)."""
    quotient, rest = divmod(whole_minor * part, of)
    twice = 2 * rest
    return quotient + (1 if twice > of or (twice == of and quotient % 2) else 0)
