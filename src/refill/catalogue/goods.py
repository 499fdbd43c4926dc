"""Kinds of goods and how a bundle is told in a few words: "5 GB · 30 days"."""

from collections.abc import Mapping
from dataclasses import dataclass

AIRTIME = "airtime"
PIN = "pin"


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of goods. by_face: an amount alone finds it; everything else is asked for by its product."""

    id: str
    name_zh: str
    name_en: str
    by_face: bool = False


# Another kind is another line here.
CATEGORIES: Mapping[str, Category] = {
    each.id: each
    for each in (
        Category(AIRTIME, "话费", "Airtime", by_face=True),
        Category("data", "流量包", "Data bundle"),
        Category(PIN, "充值卡密", "PIN"),
        Category("esim", "eSIM 套餐", "eSIM plan"),
    )
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is in a bundle; None: no such part, 0: without a limit. `hours`: how long it may be used."""

    data_mb: int | None = None
    minutes: int | None = None
    texts: int | None = None
    hours: int | None = None

    def words_zh(self) -> str:
        """In Chinese: 5 GB · 100 分钟 · 30 天; empty when nothing is told."""
        parts = [
            "" if self.data_mb is None else _data(self.data_mb) or "不限流量",
            "" if self.minutes is None else f"{self.minutes} 分钟" if self.minutes else "不限通话",
            "" if self.texts is None else f"{self.texts} 条短信" if self.texts else "不限短信",
            _span(self.hours, "天", "小时"),
        ]
        return " · ".join(filter(None, parts))

    def words_en(self) -> str:
        """In English: 5 GB · 100 minutes · 30 days; empty when nothing is told."""
        parts = [
            "" if self.data_mb is None else _data(self.data_mb) or "unlimited data",
            "" if self.minutes is None else _many(self.minutes, "minute") if self.minutes else "unlimited calls",
            "" if self.texts is None else _many(self.texts, "text") if self.texts else "unlimited texts",
            _span(self.hours, "day", "hour", plural="s"),
        ]
        return " · ".join(filter(None, parts))


NO_BUNDLE = Bundle()


def initials(name_zh: str, name_en: str) -> tuple[str, str]:
    """What stands in an operator's colour where it has no drawing: one Chinese character, and two letters."""
    words = [word for word in name_en.split() if word]
    letters = "".join(word[0] for word in words[:2]) if len(words) > 1 else name_en[:2]
    zh = name_zh.removeprefix("中国")
    return zh[:1] or letters[:1], letters.upper()


def _data(megabytes: int) -> str:
    """1.5 GB, 500 MB; empty without a limit. A gigabyte of the trade has 1024 megabytes."""
    if megabytes < 1024:
        return f"{megabytes} MB" if megabytes else ""
    tenths = megabytes * 10 // 1024
    return f"{tenths // 10} GB" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10} GB"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _span(hours: int | None, day: str, hour: str, plural: str = "") -> str:
    if hours is None:
        return ""
    count, word = (hours // 24, day) if hours % 24 == 0 else (hours, hour)
    return f"{count} {word}{plural if count != 1 else ''}"
