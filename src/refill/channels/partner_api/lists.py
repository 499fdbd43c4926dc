"""Lists a partner pages through: its top-ups, what moved in its float, and its statement by day."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from starlette.responses import Response

from refill import ledger, numbers
from refill.accounts import float_account
from refill.channels.machines.operation import CSV, XLSX, Answer, Call, Operation, Words, json_of
from refill.channels.partner_api.cursors import read_cursor, write_cursor
from refill.channels.partner_api.topups import TopUp, shown
from refill.db import Tx
from refill.errors import BadInput, NotFound
from refill.ids import cell_of_id
from refill.money import decimal_text
from refill.numbers import Msisdn
from refill.topup import Order, store
from refill.topup.listing import listed
from refill.topup.trade import Trade

DAYS_LIMIT = 62
Moment = Annotated[datetime, Meta(tz=True)]
Kind = Literal["topup", "refund", "reversal", "deposit", "adjustment"]
assert Kind.__args__ == ledger.KINDS  # type: ignore[attr-defined]


class TopUpsWanted(msgspec.Struct):
    """Which top-ups to show: the one of a reference, or those that fit all the rest."""

    reference: str | None = None
    status: Literal["processing", "succeeded", "partial", "failed", "cancelled", "reversed"] | None = None
    operator: str | None = None
    created_from: Moment | None = None
    created_until: Moment | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] | None = None


class TopUpList(msgspec.Struct):
    """A page of top-ups, the latest first."""

    topups: list[TopUp]
    next: str | None


class TransactionsWanted(msgspec.Struct):
    """Which moves of the float to show."""

    kind: Kind | None = None
    topup: str | None = None
    from_: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Transaction(msgspec.Struct):
    """One move in the float: into it without a sign, out of it with a minus."""

    id: str
    at: datetime
    kind: Kind
    amount: str
    currency: str
    topup: str | None


class Transactions(msgspec.Struct):
    """A page of what moved in the float, the latest first."""

    transactions: list[Transaction]
    next: str | None


class StatementWanted(msgspec.Struct):
    """Which days, whose midnight, in which form."""

    from_: date | None = msgspec.field(default=None, name="from")
    until: date | None = None
    time_zone: str | None = None
    format: Literal["json", "csv", "xlsx"] = "json"


class StatementDay(msgspec.Struct):
    """A day of the float: opening + all that moved = closing."""

    day: date
    opening: str
    topups: str
    topup_count: int
    refunds: str
    reversals: str
    deposits: str
    adjustments: str
    closing: str
    complete: bool


class Statement(msgspec.Struct):
    """The float from day to day: each opens with what the day before closed with."""

    currency: str
    time_zone: str
    days: list[StatementDay]


class Lists:
    """The listing routes; each shows what belongs to the caller's partner alone."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade

    async def topups(self, call: Call) -> Response:
        """The top-up of a reference, or a page of top-ups."""
        wanted: TopUpsWanted = call.query
        payer = f"partner:{call.key.partner_id}"
        if wanted.reference is not None:
            if wanted != TopUpsWanted(reference=wanted.reference):
                raise BadInput("A reference names one top-up; leave the other filters out.")
            order = await store.by_reference(self._trade, payer, wanted.reference)
            if order is None:
                raise NotFound("There is no top-up with that reference.")
            (told,) = await self._trade.db.transaction(lambda tx: self._shown(tx, [order]))
            return json_of(told)
        limit = wanted.limit or 100
        behind = _place("topups", wanted.cursor)
        # What is being placed at this moment may still show up behind a page; a page never shows anything twice.
        until = wanted.created_until or self._trade.world.db_now() + timedelta(minutes=1)

        async def work(tx: Tx) -> tuple[list[Order], list[TopUp]]:
            found = await listed(
                tx,
                payer,
                since=wanted.created_from,
                until=until,
                behind=behind,
                operator=wanted.operator,
                status=wanted.status,
                most=limit + 1,
            )
            return found, await self._shown(tx, found[:limit])

        found, page = await self._trade.db.transaction(work)
        more = None
        if len(found) > limit:
            more = write_cursor("topups", found[limit - 1].created_at.isoformat(), found[limit - 1].id)
        return json_of(TopUpList(page, more))

    async def _shown(self, tx: Tx, orders: list[Order]) -> list[TopUp]:
        known: dict[str, Msisdn] = await numbers.reveal(tx, self._trade.vault, [order.number for order in orders])
        return [shown(order, known.get(order.number)) for order in orders]

    async def transactions(self, call: Call) -> Response:
        """A page of what moved in the float, or all that one top-up moved."""
        wanted: TransactionsWanted = call.query
        account = float_account(call.key.partner_id, call.key.currency)
        behind = _place("transactions", wanted.cursor)
        until = wanted.until or self._trade.world.db_now() + timedelta(minutes=1)
        if wanted.topup is not None:
            if wanted != TransactionsWanted(topup=wanted.topup, limit=wanted.limit):
                raise BadInput("One top-up moves the float a few times at most; leave the other filters out.")
            found = await self._moves_of(account, wanted.topup)
        else:

            async def work(tx: Tx) -> list[ledger.Move]:
                return await ledger.moves(
                    tx,
                    account,
                    since=wanted.from_,
                    until=until,
                    behind=behind,
                    kind=wanted.kind,
                    most=wanted.limit + 1,
                )

            found = await self._trade.db.transaction(work)
        page = found[: wanted.limit]
        more = None
        if len(found) > len(page):
            more = write_cursor("transactions", page[-1].at.isoformat(), page[-1].id)
        return json_of(Transactions([_transaction(move, call.key.currency) for move in page], more))

    async def _moves_of(self, account: str, order_id: str) -> list[ledger.Move]:
        """Nothing for a stranger's order: it moved another float."""
        try:
            cell = cell_of_id(order_id)
        except NotFound:
            return []
        return await self._trade.db.transaction(lambda tx: ledger.moves_of(tx, account, order_id, cell))

    async def statement(self, call: Call) -> Response:
        """The float by day in a time zone, from opening to closing balance."""
        wanted: StatementWanted = call.query
        zone = _zone(call.key.time_zone if wanted.time_zone is None else wanted.time_zone)
        now = self._trade.world.db_now()
        today = now.astimezone(zone).date()
        last = wanted.until or today
        first = wanted.from_ or last
        if not timedelta(0) <= last - first < timedelta(days=DAYS_LIMIT) or last > today or first.year < 2000:
            raise BadInput(
                f'"from" and "until" are days up to today, at most {DAYS_LIMIT} of them, the earlier one first.'
            )
        bounds = [_midnight(first + timedelta(days=n), zone) for n in range((last - first).days + 2)]
        account = float_account(call.key.partner_id, call.key.currency)
        spans = await self._trade.db.transaction(lambda tx: ledger.spans(tx, account, bounds))
        days = [_day(span, zone, call.key.currency, now) for span in spans]
        headers = {"Content-Disposition": f'attachment; filename="statement-{first}-{last}.{wanted.format}"'}
        if wanted.format == "csv":
            return Response(_table(days, call.key.currency), 200, headers, f"{CSV}; charset=utf-8")
        if wanted.format == "xlsx":
            return Response(_workbook(days, call.key.currency), 200, headers, XLSX)
        return json_of(Statement(call.key.currency, zone.key, days))


def _place(of: str, cursor: str | None) -> tuple[datetime, str] | None:
    """The row behind which a page begins."""
    place = read_cursor(of, cursor)
    if not place:
        return None
    try:
        at, id_ = place
        moment = datetime.fromisoformat(at).astimezone(UTC)
        if moment.year > 9000:  # of nobody's making; and the moment after the last one is none
            raise ValueError
        return moment, id_
    except (ValueError, OverflowError):
        raise BadInput("That is no cursor of this list; send the `next` of its last page as it came.") from None


def _transaction(move: ledger.Move, currency: str) -> Transaction:
    topup = move.source if move.source.startswith("tu_") else None
    kind: Kind = move.kind  # type: ignore[assignment]
    return Transaction(move.id, move.at, kind, decimal_text(move.minor, currency), currency, topup)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise BadInput('"time_zone" is a name of the IANA time zone database, such as Asia/Shanghai.') from None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _day(span: ledger.Span, zone: ZoneInfo, currency: str, now: datetime) -> StatementDay:
    def moved(kind: str) -> str:
        return decimal_text(span.moved.get(kind, (0, 0))[1], currency)

    return StatementDay(
        day=span.since.astimezone(zone).date(),
        opening=decimal_text(span.opening, currency),
        topups=moved("topup"),
        topup_count=span.moved.get("topup", (0, 0))[0],
        refunds=moved("refund"),
        reversals=moved("reversal"),
        deposits=moved("deposit"),
        adjustments=moved("adjustment"),
        closing=decimal_text(span.closing, currency),
        complete=span.until < now - timedelta(minutes=1),
    )


def _lines(days: list[StatementDay], currency: str) -> Iterator[list[str]]:
    """The statement as a table; all of its cells are days, amounts and words of ours, kept as they are: text."""
    yield [*StatementDay.__struct_fields__, "currency"]
    for day in days:
        told = msgspec.to_builtins(day)
        yield [*(str(told[name]).lower() if name == "complete" else str(told[name]) for name in told), currency]


def _table(days: list[StatementDay], currency: str) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(_lines(days, currency))
    return text.getvalue()


def _workbook(days: list[StatementDay], currency: str) -> bytes:
    from openpyxl import Workbook  # a tenth of a second, for the few who ask

    book, file = Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet("statement")
    for line in _lines(days, currency):
        sheet.append(line)
    book.save(file)
    return file.getvalue()


def list_operations(trade: Trade) -> list[Operation]:
    """The listing operations."""
    lists = Lists(trade)
    return [
        Operation(
            "GET",
            "/v1/topups",
            "listTopups",
            "topups",
            Words(
                "Your top-ups, the latest first; or one by your own reference",
                "你的充值，最近的在前；或按你的参考号查一笔",
            ),
            "topup",
            {
                200: Answer(
                    Words("A page; with `reference`, that top-up.", "一页；给了 `reference` 时就是那一笔。"),
                    (TopUpList, TopUp),
                )
            },
            lists.topups,
            query=TopUpsWanted,
            errors=(NotFound,),
            more=Words(
                "Send `next` of a page as `cursor` for the page behind it. Top-ups that are placed meanwhile shift nothing.",
                "把一页的 `next` 作为 `cursor` 再发来，就是下一页；期间新下的充值不会让页面错位。",
            ),
            example={"status": "succeeded", "limit": "5"},
        ),
        Operation(
            "GET",
            "/v1/transactions",
            "listTransactions",
            "account",
            Words("What moved in your float, the latest first", "预付款的每一笔进出，最近的在前"),
            "balance",
            {200: Answer(Words("A page of transactions.", "一页明细。"), (Transactions,))},
            lists.transactions,
            query=TransactionsWanted,
            more=Words(
                "Your own ledger: the sum of all transactions is your balance.",
                "这就是你的账本：全部明细之和等于你的余额。",
            ),
            example={"kind": "topup", "limit": "5"},
        ),
        Operation(
            "GET",
            "/v1/statements",
            "getStatement",
            "account",
            Words("Your float by day: opening, moved, closing", "按日对账单：期初、发生额、期末"),
            "balance",
            {200: Answer(Words("The days.", "按日列出。"), (Statement,), or_forms=(CSV, XLSX))},
            lists.statement,
            query=StatementWanted,
            more=Words(
                "`format=csv` or `xlsx` answers a table instead. A day is `complete` a minute after its midnight.",
                "加上 `format=csv` 或 `xlsx` 就返回表格文件。每天零点后一分钟，当天的账单 `complete`。",
            ),
            example={"time_zone": "Asia/Shanghai"},
        ),
    ]
