"""The countries whose numbers people may type, as the picker shows and finds them."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from babel import Locale
from phonenumbers import SUPPORTED_REGIONS, country_code_for_region

HOME = "CN"


@dataclass(frozen=True, slots=True)
class Country:
    """One row of the picker. `also`: by what else it is found, beside its name and code."""

    id: str
    name: str
    code: str
    also: str

    @property
    def text(self) -> str:
        """Name and code in one line; scripts put a flag before it where this device draws flags."""
        return f"{self.name} +{self.code}"


def readable(country: str) -> str:
    """`country` if numbers of it can be read, else our own."""
    return country if country in SUPPORTED_REGIONS else HOME


def named(country: str, language: str) -> str:
    """The name of a country in the reader's language."""
    return _names(_locale(language)).get(country, country)


def countries(language: str, first: Collection[str]) -> list[Country]:
    """All countries, those in `first` (where something is on sale) before the others, each by its English name."""
    return sorted(_all(_locale(language)), key=lambda each: each.id not in first)


@cache
def _all(locale: str) -> tuple[Country, ...]:
    names, english, chinese = _names(locale), _names("en"), _names("zh")
    known = sorted(SUPPORTED_REGIONS & set(english), key=english.__getitem__)
    return tuple(
        Country(
            id_,
            names[id_],
            str(country_code_for_region(id_)),
            f"{english[id_]} {chinese[id_]}".lower(),
        )
        for id_ in known
    )


@cache
def _names(locale: str) -> dict[str, str]:
    """Names by ISO 3166 code; Hong Kong, Macao and Taiwan as the market here says them."""
    names = {id_: name for id_, name in Locale.parse(locale).territories.items() if len(id_) == 2}
    return names | _SAID.get(locale, {})


_SAID = {
    "zh": {"HK": "中国香港", "MO": "中国澳门", "TW": "中国台湾"},
    "en": {"HK": "Hong Kong, China", "MO": "Macao, China", "TW": "Taiwan, China"},
}


def _locale(language: str) -> str:
    return "en" if language == "en" else "zh"
