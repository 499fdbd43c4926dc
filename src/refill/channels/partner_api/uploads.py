"""Files of top-ups over HTTP: sent once, worked off beside everything else, with progress and a result for every row."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
from starlette.responses import Response, StreamingResponse

from refill import uploads
from refill.channels.machines.body import Gone, TooLarge
from refill.channels.machines.operation import CSV, Answer, Call, Operation, Words, json_of, read_form
from refill.channels.machines.problem import without_numbers
from refill.channels.partner_api.sheet import BYTES_LIMIT, RESULT, ROWS_LIMIT, BadFile, Sheet, result_line
from refill.channels.partner_api.topups import BadKey, TopUpAsk, TopUps, shown
from refill.db import Tx
from refill.errors import Busy, NotFound, OtherContent, RefillError
from refill.topup import Ask, Order, store
from refill.topup.trade import Trade
from refill.uploads import Done, NotReady, Part, Progress, RefusedRow, Result, TooManyRows

AT_ONCE = 4  # files that may arrive at the same time
HEARING = 4
_KEY = re.compile(r"[!-~]{1,255}")


class Upload(msgspec.Struct):
    """A file of top-ups, and how far it is."""

    id: str
    status: str
    rows: int
    accepted: int
    refused: int
    waiting: int
    created_at: datetime
    done_at: datetime | None
    result: str | None


class Uploads:
    """The routes for files. A row's name is its file and its line, so that no kill and no repeat sells it twice."""

    def __init__(self, trade: Trade, topups: TopUps) -> None:
        self._trade = trade
        self._topups = topups
        self._arriving = 0

    async def take(self, call: Call) -> Response:
        """202 for a new file; 200 for one that was sent before."""
        read_form(call.request, CSV)
        key = call.request.headers.get("idempotency-key")
        if key is not None and _KEY.fullmatch(key) is None:
            raise BadKey("An Idempotency-Key has 1 to 255 visible ASCII characters.")
        if self._arriving >= AT_ONCE:
            raise Busy("Several files arrive at this moment; nothing of this one was taken. Try again in a second.")
        self._arriving += 1
        try:
            owner = f"partner:{call.key.partner_id}"
            id_ = uploads.new_upload_id(self._trade.world, owner)

            def ask_of(row: TopUpAsk, line: int) -> Ask:
                # Its reference names a row already; no header can hold the spaces of the other name.
                named = None if row.reference is not msgspec.UNSET else f"{id_} file {line}"
                return self._topups.ask(call.key, owner, row, named)

            sheet = Sheet(ask_of)
            await self._read(call, sheet)
            parts, world, vault = sheet.end(), self._trade.world, self._trade.vault
            told = await self._trade.db.transaction(
                lambda tx: uploads.take(tx, world, vault, id_, owner, key, sheet.content, parts)
            )
        finally:
            self._arriving -= 1
        headers = {"Location": f"/v1/topups/csv/{told.id}"}
        if told.replayed:
            headers["Idempotent-Replayed"] = "true"
        return json_of(_upload(told), 200 if told.replayed else 202, headers)

    async def _read(self, call: Call, sheet: Sheet) -> None:
        """Feeds the sheet. A client that is still sending does not hear a refusal: so we listen a while longer than we read."""
        refused: RefillError | None = None
        heard, more = 0, True
        while more and heard <= HEARING * BYTES_LIMIT:
            message = await call.request.receive()
            if message["type"] == "http.disconnect":
                raise Gone("The connection ended before the file was whole; no row of it was taken.")
            body: bytes = message.get("body", b"")
            heard += len(body)
            for start in range(0, len(body) if refused is None else 0, _BREATH):
                try:
                    sheet.feed(body[start : start + _BREATH])
                except RefillError as no:
                    refused = no
                    break
                await asyncio.sleep(0)  # others on the same loop have their turn
            more = message.get("more_body", False)
        if refused is not None:
            raise refused

    async def progress(self, call: Call) -> Response:
        """How far a file is."""
        return json_of(_upload(await self._progress(call)))

    async def result(self, call: Call) -> Response:
        """What became of each row, as the top-ups stand now."""
        told = await self._progress(call)
        if told.status != "done":
            raise NotReady(f"{told.accepted + told.refused} of {told.rows} rows are done; ask again a little later.")
        headers = {"Content-Disposition": f'attachment; filename="{told.id}.csv"', "Cache-Control": "no-store"}
        return StreamingResponse(self._lines(told), 200, headers, f"{CSV}; charset=utf-8")

    async def _progress(self, call: Call) -> Progress:
        owner = f"partner:{call.key.partner_id}"
        id_ = call.path["id"]
        if not id_.isascii():
            raise NotFound("There is no file with that id.")
        return await self._trade.db.transaction(lambda tx: uploads.progress(tx, owner, id_))

    async def _lines(self, told: Progress) -> AsyncIterator[str]:
        yield _text([list(RESULT)])
        for n in range(told.parts):

            async def work(tx: Tx, n: int = n) -> tuple[Part, Result, list[Order | None]]:
                part, result = await uploads.part(tx, self._trade.vault, told.id, n)
                return part, result, await store.find_in(tx, [done.order_id for done in result.done])

            part, result, orders = await self._trade.db.transaction(work)
            yield _text(_rows(part, result, orders))


_BREATH = 16_384  # some five hundred rows, a few milliseconds


def _upload(told: Progress) -> Upload:
    return Upload(
        id=told.id,
        status=told.status,
        rows=told.rows,
        accepted=told.accepted,
        refused=told.refused,
        waiting=told.rows - told.accepted - told.refused,
        created_at=told.created_at,
        done_at=told.done_at,
        result=f"/v1/topups/csv/{told.id}/result" if told.status == "done" else None,
    )


def _rows(part: Part, result: Result, orders: list[Order | None]) -> list[list[str]]:
    """The rows of a part in the order of their lines."""
    asks = dict(zip(part.lines, part.asks, strict=True))
    told: dict[int, dict[str, str]] = {}
    for done, order in zip(result.done, orders, strict=True):
        assert order is not None
        told[done.line] = _sold(done, order, asks[done.line])
    for refused in (*part.refused, *result.refused):
        ask = asks.get(refused.line)
        told[refused.line] = _refused(refused) | ({"msisdn": ask.msisdn.e164} if ask else {})
    return [result_line(told[line]) for line in sorted(told)]


def _sold(done: Done, order: Order, ask: Ask) -> dict[str, str]:
    topup = shown(order, ask.msisdn)
    return {
        "line": str(done.line),
        "reference": ask.reference or "",
        "msisdn": ask.msisdn.e164,
        "status": topup.status,
        "certainty": topup.certainty,
        "topup": topup.id,
        "replayed": "true" if done.replayed else "false",
        "face_value": topup.face_value,
        "price": topup.price,
        "currency": topup.currency,
        "operator": topup.operator,
        "detail": topup.reason,
    }


def _refused(row: RefusedRow) -> dict[str, str]:
    return {
        "line": str(row.line),
        "reference": row.reference,
        "status": "refused",
        "certainty": "unknown" if row.status >= 500 else "final",
        "code": row.code,
        "detail": without_numbers(row.detail),
    }


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def upload_operations(trade: Trade, topups: TopUps) -> list[Operation]:
    """The operations on files."""
    routes = Uploads(trade, topups)
    return [
        Operation(
            "POST",
            "/v1/topups/csv",
            "uploadTopups",
            "files",
            Words(f"Send a CSV file of up to {ROWS_LIMIT:,} top-ups", f"上传一个 CSV 文件，最多 {ROWS_LIMIT:,} 笔充值"),
            "topup",
            {
                202: Answer(
                    Words("Taken; it is being worked off.", "已收下，正在处理。"),
                    (Upload,),
                    headers={"Location": Words("Where its progress is told.", "查看进度的地址。")},
                ),
                200: Answer(Words("This file was sent before.", "这个文件以前发过。"), (Upload,)),
            },
            routes.take,
            more=Words(
                "The first line names the columns: msisdn, amount, currency, and if you like reference, operator, product, "
                f"max_price. UTF-8, divided by commas, at most {BYTES_LIMIT:,} bytes. A row that is refused disturbs no "
                "other. The same file again is the same file; give it another Idempotency-Key to sell it all once more.",
                "第一行写列名：msisdn、amount、currency，可选 reference、operator、product、max_price。UTF-8 编码、逗号分隔，"
                f"最大 {BYTES_LIMIT:,} 字节。一行被拒绝不影响其他行。"
                "同一个文件再发一遍还是同一个文件；确实要全部再充一次，请换一个 Idempotency-Key。",
            ),
            form=CSV,
            headers={
                "Idempotency-Key": Words("Your name for this file.", "你给这个文件起的名字。"),
            },
            leads={"getUpload": {"id": "$response.body#/id"}, "getUploadResult": {"id": "$response.body#/id"}},
            errors=(BadFile, BadKey, OtherContent, TooLarge, TooManyRows),
            example={
                "body": "msisdn,amount,currency,reference\n+8619912345678,10.00,CNY,row-1\n12345,10.00,CNY,row-2\n"
            },
        ),
        Operation(
            "GET",
            "/v1/topups/csv/{id}",
            "getUpload",
            "files",
            Words("How far a file is", "文件处理到哪里了"),
            "topup",
            {200: Answer(Words("Its progress.", "进度。"), (Upload,))},
            routes.progress,
            errors=(NotFound,),
            example={"id": "up_…"},
        ),
        Operation(
            "GET",
            "/v1/topups/csv/{id}/result",
            "getUploadResult",
            "files",
            Words("What became of each row of a file", "文件里每一行的结果"),
            "topup",
            {
                200: Answer(
                    Words("A CSV file with a row for every row, in order.", "CSV 文件，一行对一行，顺序不变。"),
                    form=CSV,
                )
            },
            routes.result,
            more=Words(
                "Top-ups are shown as they stand when you ask: ask again for those that were still processing.",
                "显示的是你查询那一刻的状态：当时还在处理的，过后可以再查。",
            ),
            errors=(NotFound, NotReady),
            example={"id": "up_…"},
        ),
    ]
