"""What is agreed with a supplier beside its wire: its float's alarm level, its statements' columns, when it takes credit back."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import TextIOWrapper
from typing import BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from refill.errors import BadInput, BadStatement, NotAnAmount
from refill.money import EXPONENT, Money, amount
from refill.operators.supplier import SupplierLine, nearly
from refill.settings import PortSetting

CHINA = "Asia/Shanghai"
LONGEST_ROW = 1 << 16
_CELL = re.compile(r'\s*(?:="?|\')?(.*?)"?\s*', re.DOTALL)  # as spreadsheets protect digits: ="123", '123
_ID = re.compile(r"[!-~]{1,128}")
_EXPONENT = re.compile(r"[0-9.]+[eE]\+?[0-9]+")  # a long number that a spreadsheet has rounded
_MEMBERS = ("request_id", "reference", "cost", "at")
_FIELDS = (*_MEMBERS, "currency", "kind")


@dataclass(frozen=True, slots=True)
class ReversalRules:
    """When an operator takes credit back: the rules of its contract, as data.

    within: since delivery; None: no limit. same_month: only in the calendar month of the delivery, in `zone`.
    balance_left: only while all of the credit is unspent, which the operator itself looks at.
    """

    within: timedelta | None = timedelta(hours=24)
    same_month: bool = True
    zone: str = CHINA
    balance_left: bool = True

    def refusal(self, delivered_at: datetime, now: datetime) -> str:
        """Why the operator would not even look at it: "too_late" or "other_month"; "" when it may be asked."""
        if self.within is not None and now - delivered_at > self.within:
            return "too_late"
        zone = ZoneInfo(self.zone)
        then, here = delivered_at.astimezone(zone), now.astimezone(zone)
        return "other_month" if self.same_month and (then.year, then.month) != (here.year, here.month) else ""


@dataclass(frozen=True, slots=True)
class CsvStatement:
    """A statement as a table of text (CSV): which column holds what, by its heading.

    columns: `request_id` (ours) and `reference` (theirs), one of which must be there, `cost`, `at`, and perhaps
    `currency` and `kind`. charges and returns: the words in `kind` of a recharge and of money back; rows with other
    words moved no money. Without a `kind`, a cost below zero is money back.
    """

    columns: Mapping[str, str]
    currency: str = "CNY"
    zone: str = CHINA
    charges: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    encoding: str = "utf-8-sig"

    def read_statement(self, file: BinaryIO) -> Iterator[SupplierLine]:
        """The rows of a file, one at a time. Raises BadStatement at the first that cannot be read, naming it."""
        file.seek(0)
        text = TextIOWrapper(file, encoding=self.encoding, newline="")
        try:
            yield from self._rows(text)
        except UnicodeDecodeError as error:
            raise BadStatement(f"The statement is not written in {self.encoding}; see …_statement_encoding.") from error
        except csv.Error as error:
            raise BadStatement("The statement is not a table of text: a quotation mark is never closed.") from error
        finally:
            text.detach()  # the file is its owner's

    def _rows(self, text: TextIOWrapper) -> Iterator[SupplierLine]:
        heading = text.readline(LONGEST_ROW)
        mark = max(",;\t|", key=heading.count)
        names = [_clean(name) for name in next(csv.reader([heading], delimiter=mark), [])]
        missing = [name for name in self.columns.values() if name not in names]
        if missing:
            raise BadStatement(f"The statement has no column {missing[0][:40]!r}; it has {', '.join(names)[:200]!r}.")
        places = {what: names.index(name) for what, name in self.columns.items()}
        rows = csv.reader(iter(lambda: text.readline(LONGEST_ROW), ""), delimiter=mark, strict=True)
        for n, row in enumerate(rows, 2):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise BadStatement(f"Row {n} of the statement has {len(row)} cells, and its heading {len(names)}.")
            line = self._line(n, {what: _clean(row[place]) for what, place in places.items()})
            if line is not None:
                yield line

    def _line(self, n: int, row: Mapping[str, str]) -> SupplierLine | None:
        word = row.get("kind", "")
        if "kind" in row and word not in self.charges | self.returns:
            return None
        request_id, reference = row.get("request_id", ""), row.get("reference", "")
        for id_ in (request_id, reference):
            if id_ and (not _ID.fullmatch(id_) or _EXPONENT.fullmatch(id_)):
                raise BadStatement(f"Row {n} of the statement has no usable number of an order; export it as text.")
        if not request_id and not reference:
            raise BadStatement(f"Row {n} of the statement names no order, neither by our number nor by theirs.")
        try:
            cost = nearly(row["cost"].removeprefix("+").replace(",", ""), row.get("currency") or self.currency)
        except NotAnAmount:
            raise BadStatement(f"Row {n} of the statement has a cost that is no amount.") from None
        if not cost.minor:
            return None
        back = word in self.returns if "kind" in row else cost.minor < 0
        kind = "reversal" if back else "recharge"
        return SupplierLine(kind, request_id, reference, abs(cost.minor), cost.currency, self._time(n, row["at"]))

    def _time(self, n: int, text: str) -> datetime:
        written = re.sub(r"\b([0-9])\b", r"0\1", text.replace("/", "-")) if len(text) <= 40 else ""
        try:
            at = datetime.fromisoformat(written)
        except ValueError:
            raise BadStatement(f"Row {n} of the statement has a time that cannot be read.") from None
        return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(self.zone))


@dataclass(frozen=True, slots=True)
class Terms:
    """What is set for one supplier beside its wire.

    currencies: of its floats; () where the catalogue tells. alarm: people are told when the float lasts less long than
    this. least: or when it holds less than this. ask_every: how often its balance is asked. patience: how long their
    balance may disagree with our book before it is a case. reads: how its statement file is laid out, where its wire has
    none of its own.
    """

    currencies: tuple[str, ...] = ()
    alarm: timedelta = timedelta(hours=6)
    least: Mapping[str, int] = field(default_factory=dict)  # minor units by currency
    ask_every: timedelta = timedelta(seconds=60)
    patience: timedelta = timedelta(minutes=15)
    reads: CsvStatement | None = None
    reversal: ReversalRules = field(default_factory=ReversalRules)


SETTINGS = {
    "terms_*": PortSetting(
        "text", "what is agreed with a supplier beside its wire, such as `REFILL_TERMS_NORTHTEL_ALARM_H=6`"
    )
}
_WORDS = (
    *("currencies", "alarm_h", "least", "ask_s", "patience_s"),
    *("statement_columns", "statement_currency", "statement_zone", "statement_charges", "statement_returns"),
    *("statement_encoding", "reversal_within_h", "reversal_same_month", "reversal_zone", "reversal_balance_left"),
)


def terms_by_name(settings: Mapping[str, object], names: Sequence[str]) -> dict[str, Terms]:
    """The terms of these suppliers, `home` (our own network) among them. Raises BadInput, which names the setting.

    `terms_northtel_…`: currencies ("CNY USD"), alarm_h, least ("1000.00 CNY"), ask_s, patience_s; of its statement
    statement_columns ("request_id=商户订单号; reference=流水号; cost=扣款; at=时间; kind=类型"), statement_charges and
    statement_returns (words of `kind`), statement_currency, statement_zone, statement_encoding; of reversals
    reversal_within_h (or never, for no limit), reversal_same_month, reversal_zone, reversal_balance_left (yes | no).
    """
    given = {name: str(value) for name, value in settings.items() if name.startswith("terms_") and value is not None}
    known = {f"terms_{name}_{word}" for name in names for word in _WORDS}
    for name in given:
        if name not in known:
            raise BadInput(f"The setting {name} fits no supplier of ours, or says nothing that we know.")
    return {name: _terms(_Given(name, given)) for name in names}


def _terms(said: "_Given") -> Terms:
    least = [_money(said, text) for text in re.split(r"[,;]", said.text("least")) if text.strip()]
    rules = ReversalRules()
    within = said.text("reversal_within_h")
    return Terms(
        currencies=tuple(
            _currency(said, "currencies", word) for word in said.text("currencies").replace(",", " ").split()
        ),
        alarm=timedelta(hours=said.whole("alarm_h", 6)),
        least={money.currency: money.minor for money in least},
        ask_every=timedelta(seconds=said.whole("ask_s", 60)),
        patience=timedelta(seconds=said.whole("patience_s", 900)),
        reads=_csv(said) if said.text("statement_columns") else None,
        reversal=ReversalRules(
            within=None if within == "never" else timedelta(hours=said.whole("reversal_within_h", 24)),
            same_month=said.yes("reversal_same_month", rules.same_month),
            zone=_zone(said, "reversal_zone"),
            balance_left=said.yes("reversal_balance_left", rules.balance_left),
        ),
    )


def _csv(said: "_Given") -> CsvStatement:
    pairs = [pair.partition("=") for pair in said.text("statement_columns").split(";") if pair.strip()]
    columns = {what.strip(): name.strip() for what, _, name in pairs}
    odd = [what for what, name in columns.items() if what not in _FIELDS or not name]
    lacking = [what for what in ("cost", "at") if what not in columns]
    if odd or lacking or not {"request_id", "reference"} & set(columns):
        raise BadInput(
            f"The setting terms_{said.name}_statement_columns is a list such as request_id=商户订单号; cost=扣款; at=时间."
        )
    charges, returns = (
        frozenset(said.text(f"statement_{word}").replace(",", " ").split()) for word in ("charges", "returns")
    )
    if ("kind" in columns) != bool(charges):
        raise BadInput(f"The settings terms_{said.name}_statement_charges and a column kind belong together.")
    encoding = said.text("statement_encoding") or "utf-8-sig"
    if encoding not in ("utf-8-sig", "utf-8", "gb18030", "gbk", "latin-1"):
        raise BadInput(
            f"The setting terms_{said.name}_statement_encoding is {encoding[:20]!r}; write utf-8 or gb18030."
        )
    currency = _currency(said, "statement_currency", said.text("statement_currency") or "CNY")
    return CsvStatement(columns, currency, _zone(said, "statement_zone"), charges, returns, encoding)


@dataclass(frozen=True, slots=True)
class _Given:
    name: str
    settings: Mapping[str, str]

    def text(self, what: str) -> str:
        return self.settings.get(f"terms_{self.name}_{what}", "").strip()

    def whole(self, what: str, default: int) -> int:
        text = self.text(what) or str(default)
        if not re.fullmatch(r"[0-9]{1,6}", text) or not int(text):
            raise BadInput(f"The setting terms_{self.name}_{what} is {text[:20]!r}; write a whole number above zero.")
        return int(text)

    def yes(self, what: str, default: bool) -> bool:
        text = self.text(what) or ("yes" if default else "no")
        if text not in ("yes", "no"):
            raise BadInput(f"The setting terms_{self.name}_{what} is {text[:20]!r}; write yes or no.")
        return text == "yes"


def _currency(said: _Given, what: str, text: str) -> str:
    if text not in EXPONENT:
        raise BadInput(f"The setting terms_{said.name}_{what} holds {text[:8]!r}; write a currency such as CNY.")
    return text


def _zone(said: _Given, what: str) -> str:
    name = said.text(what) or CHINA
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"The setting terms_{said.name}_{what} is {name[:40]!r}; write a zone such as {CHINA}."
        ) from None
    return name


def _money(said: _Given, text: str) -> Money:
    number, _, currency = text.strip().partition(" ")
    try:
        return amount(number, currency)
    except NotAnAmount as error:
        raise BadInput(f"The setting terms_{said.name}_least is an amount such as 1000.00 CNY: {error}") from None


def _clean(cell: str) -> str:
    found = _CELL.fullmatch(cell)
    return found[1] if found else cell.strip()
