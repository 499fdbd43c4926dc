"""Reads telephone numbers from programs (strictly) and from people (tolerantly), and writes them grouped or masked."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType, ValidationResult

from refill.errors import NotANumber
from refill.numbers import world
from refill.numbers.plan import CHINA, VIRTUAL

# `[0-9]` and fullmatch on purpose: int(), isdigit() and \d take digits of other scripts, and `$` a trailing newline.
_FAST = re.compile(r"\+?(861[3-9][0-9]{9})")
_STRICT = re.compile(r"\+?[0-9]+(?:[ -][0-9]+)*")
_LONGEST = 24  # 15 digits (E.164 §6.2.1), a plus and separators

_ISSUED = frozenset(CHINA) | VIRTUAL
_CAN_HOLD_CREDIT = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_SEPARATORS = str.maketrans("", "", "()（）.·/")

# What exists and can hold no prepaid credit, and what is said of it; None stands for all other kinds.
_OTHER_KINDS = {
    PhoneNumberType.FIXED_LINE: ("landline", "This is a landline; only a mobile number can be topped up."),
    PhoneNumberType.PREMIUM_RATE: ("premium", "This is a premium-rate service; only a mobile number can be topped up."),
    PhoneNumberType.TOLL_FREE: ("service", "This is a service number; only a mobile number can be topped up."),
    PhoneNumberType.SHARED_COST: ("service", "This is a service number; only a mobile number can be topped up."),
    PhoneNumberType.UAN: ("service", "This is a company's number; only a mobile number can be topped up."),
}
_OTHER = ("other", "This is not a mobile number.")
_LENGTHS = {
    ValidationResult.TOO_SHORT: ("too_short", "A digit is missing: numbers of that country are longer."),
    ValidationResult.TOO_LONG: ("too_long", "There is a digit too many: numbers of that country are shorter."),
}
_NO_SUCH = ("no_such", "No such number exists; is a digit missing or too many?")


class NotMobile(NotANumber):
    """This is not a telephone number that exists.

    `kind` says what it is instead: landline, premium, service, other; or what is wrong: too_short, too_long, no_such.
    """

    def __init__(self, kind: str, says: str) -> None:
        super().__init__(says)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Msisdn:
    """A full number that exists: country code and national number, digits only, no plus: "8613800138000"."""

    digits: str

    @property
    def e164(self) -> str:
        """With the plus of E.164: "+8613800138000"."""
        return "+" + self.digits

    @property
    def country(self) -> str:
        """ISO 3166 code of the country: "CN"."""
        return "CN" if self._is_chinese else _country(self.digits)

    @property
    def calling_code(self) -> str:
        """The code of E.164 that it begins with: "86"."""
        return "86" if self._is_chinese else world.calling_code(self.digits)

    @property
    def _is_chinese(self) -> bool:
        return self.digits.startswith("861") and len(self.digits) == 13

    def grouped(self) -> str:
        """As people read it aloud: "138 0013 8000" in China, "+44 7400 123456" elsewhere."""
        if self._is_chinese:
            return f"{self.digits[2:5]} {self.digits[5:9]} {self.digits[9:]}"
        return phonenumbers.format_number(phonenumbers.parse(self.e164), PhoneNumberFormat.INTERNATIONAL)

    def masked(self) -> str:
        """For logs, errors and pages that others see: "138****8000", "+44****3456"."""
        if self._is_chinese:
            return f"{self.digits[2:5]}****{self.digits[9:]}"
        code = self.calling_code
        shown = 4 if len(self.digits) - len(code) >= 8 else 2
        return f"+{code}****{self.digits[-shown:]}"

    def __repr__(self) -> str:
        # A trace-back or a log line must not carry a whole number.
        return f"Msisdn({self.masked()})"

    def __str__(self) -> str:
        return self.masked()


def fast_msisdn(text: str) -> Msisdn | None:
    """The hot doors' reader: "+86…" or "86…" with a prefix issued in China, and "+…" of any country; None: ask `msisdn`.

    Under a microsecond in China, two elsewhere; the library takes thirty.
    """
    found = _FAST.fullmatch(text)
    if found is not None and text[-11:-8] in _ISSUED:
        return Msisdn(found[1])
    digits = world.mobile(text)
    return Msisdn(digits) if digits else None


def msisdn(text: object, region: str = "CN") -> Msisdn:
    """Reads what a program sent: "+8613800138000", "8613800138000", or national to `region`: "138 0013 8000".

    ASCII digits with single spaces or hyphens between them; nothing else: no other script's digits, extension or
    newline. Raises NotANumber, whose sentence never repeats the number.
    """
    if not isinstance(text, str):
        raise NotANumber('A number is a string such as "+8613800138000", not a JSON number.')
    fast = fast_msisdn(text)
    if fast is not None:
        return fast
    if text[:1] == " ":
        raise NotANumber("The number starts with a space; in a URL write the plus sign as %2B.")
    if len(text) > _LONGEST or _STRICT.fullmatch(text) is None:
        raise NotANumber("A number is written in plain digits, such as +8613800138000.")
    return _read(text.replace(" ", "").replace("-", ""), region)


def typed_msisdn(text: str, region: str = "CN") -> Msisdn:
    """Reads what a person typed or pasted: any script's digits, spaces, brackets, invisible marks. Raises NotANumber."""
    if len(text) > 10 * _LONGEST:
        raise NotANumber("That is too long for a telephone number.")
    plain = []
    for letter in unicodedata.normalize("NFKC", text).translate(_SEPARATORS):
        category = unicodedata.category(letter)
        if category == "Nd":
            plain.append(str(unicodedata.decimal(letter)))
        elif letter == "+":
            plain.append("+")
        elif category not in ("Zs", "Zl", "Zp", "Cf", "Cc", "Pd"):  # spaces, invisible marks, dashes of all kinds
            raise NotANumber("Please enter a mobile number in digits, such as 138 0013 8000.")
    digits = "".join(plain)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if not re.fullmatch(r"\+?[0-9]{3,20}", digits):
        raise NotANumber("Please enter a mobile number in digits, such as 138 0013 8000.")
    return fast_msisdn(digits) or _read(digits, region)


# A number's meaning never changes while we run, and reading one costs 18 µs; what cannot be read is not remembered.
@lru_cache(maxsize=16_384)
def _read(digits: str, region: str) -> Msisdn:
    if region == "CN" and len(digits) == 11 and digits[:3] in _ISSUED:
        return Msisdn("86" + digits)
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        raise NotANumber("This is not a telephone number.") from None
    if not phonenumbers.is_valid_number(number):
        length = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.MOBILE)
        raise NotMobile(*_LENGTHS.get(length, _NO_SUCH))
    kind = phonenumbers.number_type(number)
    if kind not in _CAN_HOLD_CREDIT:
        raise NotMobile(*_OTHER_KINDS.get(kind, _OTHER))
    return Msisdn(phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:])


@lru_cache(maxsize=4_096)
def _country(digits: str) -> str:
    return phonenumbers.region_code_for_number(phonenumbers.parse("+" + digits)) or ""
