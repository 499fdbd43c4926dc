"""Alipay's bills: read to the last fen as the firm writes them, refused whole for whatever else they may be."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import BinaryIO

import pytest
from tests.simulators.test_alipay import a_charge, a_refund, a_world, opened
from tests.worlds import MORNING

from refill.outcome import Done, Refused, Unknown
from refill.payments import ABSENT, BadStatement, SendsStatements, StatementLine
from refill.payments.alipay import EXAMPLES
from refill.simulators.alipay import BillRow, bill_lines
from refill.world import NoAnswer, Request, Response

ALIPAY, _ = EXAMPLES()
SELLER = "2088000000000000"
DAY = date(2026, 11, 22)
TEN = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
PAID = BillRow("2026112222001400000000000001", "pay_1", "", "话费充值", 4980, -30, TEN, TEN + timedelta(seconds=9))
BACK = BillRow("2026112222001400000000000001", "pay_1", "rf_1", "话费充值", -980, 6, TEN, TEN + timedelta(hours=1))


def bill(*rows: BillRow, seller: str = SELLER) -> str:
    return "".join(bill_lines(seller, DAY, rows, TEN + timedelta(days=1)))


def read(text: str | bytes) -> list[StatementLine]:
    file = io.BytesIO(text if isinstance(text, bytes) else text.encode("gbk"))
    lines = list(ALIPAY.read_statement(file))
    assert not file.closed, "a file is closed by whoever opened it"
    return lines


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.csv", content)
    return packed.getvalue()


def test_a_bill_is_read_as_the_firm_writes_it() -> None:
    assert read(bill(PAID, BACK)) == [
        StatementLine("payment", "pay_1", "", PAID.trade_no, 4980, 30, "CNY", PAID.at),
        StatementLine("refund", "pay_1", "rf_1", PAID.trade_no, 980, -6, "CNY", BACK.at),
    ]


def test_a_day_without_trade_is_a_bill_too() -> None:
    assert read(bill()) == []


def test_the_zip_is_read_as_it_is_downloaded_and_the_summary_in_it_left_alone() -> None:
    text = bill(PAID).encode("gbk")
    assert len(read(zipped(**{"20880_业务明细": text, "20880_业务明细(汇总)": b"\xd2\xb5"}))) == 1


def test_what_we_promised_the_payer_to_give_is_a_cost_like_the_fee() -> None:
    text = bill(PAID).replace("49.80,49.80,", "49.80,45.00,").replace("共49.80元", "共45.00元")
    assert read(text)[0].fee_minor == 480 + 30


def test_a_product_with_a_comma_in_quotes_is_one_cell() -> None:
    assert len(read(bill(PAID).replace("话费充值", '"话费,充值"'))) == 1


def changed(old: str, new: str) -> str:
    text = bill(PAID, BACK)
    assert old in text
    return text.replace(old, new, 1)


BAD = {
    "the count of the totals": changed("交易合计：1笔", "交易合计：2笔"),
    "the sum of the totals": changed("共49.80元", "共49.81元"),
    "the refunds' sum": changed("共-9.80元", "共9.80元"),
    "no totals": bill(PAID).rpartition("#--")[0],
    "a row was taken out": "".join(line for line in bill(PAID, BACK).splitlines(True) if "退款\t" not in line),
    "a row after the totals": bill(PAID) + bill(PAID).splitlines(True)[5],
    "nothing": "",
    "headings only": "#支付宝业务明细查询\r\n",
    "a column is missing": changed("服务费（元）", "费用"),
    "a column is named twice": changed("分润（元）", "服务费（元）"),
    "a field is missing": changed(",0.00,\r\n", ",\r\n"),
    "a field too many": changed(",0.00,\r\n", ",0.00,,\r\n"),
    "an unclosed quote": changed("话费充值", '"话费充值'),
    "another seller's": bill(PAID, seller="2088000000000001"),
    "nobody's": changed("#账号", "#帐号"),
    "a kind that we do not know": changed("交易\t", "转账\t"),
    "a formula for an amount": changed("49.80,49.80", "=1+1,49.80"),
    "a formula for a number": changed("\t,pay_1\t", "\t,=HYPERLINK(1)\t"),
    "a formula for the firm's number": changed(PAID.trade_no, "=1+1"),
    "a formula for a refund's number": changed("rf_1", "@rf"),
    "an exponent": changed("49.80,49.80", "4.98E+1,49.80"),
    "three decimals": changed("49.80,49.80", "49.800,49.80"),
    "full-width digits": changed("49.80,49.80", "４９.８０,49.80"),
    "a payment below zero": changed("49.80,49.80", "-49.80,49.80"),
    "a payment of nothing": changed("49.80,49.80", "0.00,49.80"),
    "received below zero": changed("49.80,49.80", "49.80,-49.80"),
    "a refund above zero": changed("-9.80,-9.80", "9.80,-9.80"),
    "a fee that is given with a payment": changed("-0.30", "0.30"),
    "a fee that is taken with a refund": changed("0.06", "-0.06"),
    "no time": changed("2026-11-22 10:00:09", ""),
    "a time that is none": changed("2026-11-22 10:00:09", "2026-11-22 25:00:09"),
    "a spreadsheet's time": changed("2026-11-22 10:00:09", "2026/11/22 10:00"),
    "a line that does not end": bill(PAID).partition("\t,退")[0][:-200] + "x",
    "a line of a megabyte": changed("话费充值", "话" * 600_000),
    "UTF-8": bill(PAID, BACK).encode(),
    "no text at all": bytes(range(128, 256)) * 40,
    "NULs": b"\0" * 4096,
    "a damaged zip": zipped(业务明细=bill(PAID).encode("gbk"))[:-30],
    "a zip damaged in the middle": zipped(业务明细=bytes(range(200)) * 50).replace(b"\x4b\x03\x04", b"\x4b\x03\x05"),
    "a zip of something else": zipped(photo=b"x"),
    "a zip with two bills": zipped(**{"1业务明细": b"", "2业务明细": b""}),
}


@pytest.mark.parametrize("bad", [pytest.param(text, id=says) for says, text in BAD.items()])
def test_a_bill_that_is_not_whole_is_refused_without_repeating_what_stands_in_it(bad: str | bytes) -> None:
    with pytest.raises(BadStatement) as refusal:
        read(bad)
    said = str(refusal.value)
    assert "pay_1" not in said
    assert PAID.trade_no not in said
    assert "138" not in said


def test_a_huge_bill_is_read_in_little_memory() -> None:
    rows = 20_000

    class Endless(io.RawIOBase):
        """A bill that is made while it is read."""

        def __init__(self) -> None:
            many = (PAID._replace(trade_no=f"2026112222001400{n:012d}") for n in range(rows))
            self.parts: Iterator[bytes] = (line.encode("gbk") for line in bill_lines(SELLER, DAY, many, TEN))
            self.rest = next(self.parts)

        def readable(self) -> bool:
            return True

        def seek(self, *_where: int) -> int:
            return 0

        def read(self, size: int = -1) -> bytes:
            if size == 2:
                return b"#"
            taken, self.rest = self.rest, next(self.parts, b"")
            return taken

        read1 = read

    file: BinaryIO = Endless()  # type: ignore[assignment]
    tracemalloc.start()
    try:
        assert sum(line.minor for line in ALIPAY.read_statement(file)) == rows * 4980
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# From the firm itself


async def test_a_bill_is_fetched_on_the_next_day_and_tells_what_truly_happened() -> None:
    world, simulator, method, _ = a_world()
    assert isinstance(method, SendsStatements)
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    await world.advance(60)
    assert isinstance(await method.refund(world, a_refund("rf_1", 980)), Done)
    today = MORNING.date()
    early = await method.fetch_statement(world, today)
    assert isinstance(early, Unknown), "the day is not over"
    await world.advance(86400)
    assert await method.fetch_statement(world, today - timedelta(days=3)) == Refused(
        ABSENT, "isp.bill_not_exist", final=False
    )
    fetched = await method.fetch_statement(world, today)
    assert isinstance(fetched, Done)
    told = list(method.read_statement(io.BytesIO(fetched.reference)))
    assert [(one.kind, one.reference, one.request_id, one.minor, one.fee_minor, one.at) for one in told] == [
        ("payment", "pay_1", "", 4980, 30, MORNING),
        ("refund", "pay_1", "rf_1", 980, -6, MORNING + timedelta(seconds=60)),
    ]
    assert {one.transaction for one in told} == {simulator.captures[0].trade_no}


async def test_an_address_of_a_bill_lives_for_half_a_minute() -> None:
    world, simulator, method, _ = a_world()
    assert isinstance(method, SendsStatements)
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    await world.advance(86400)

    async def slowly(request: Request) -> Response:
        await world.advance(31)
        return await simulator.handle(request)

    world.route("https://alipay.example/bill/", slowly)
    assert await method.fetch_statement(world, MORNING.date()) == Unknown("Alipay's bill did not arrive.", "HTTP_404")


async def test_a_bill_that_gets_lost_is_asked_for_again_another_time() -> None:
    world, simulator, method, _ = a_world()
    assert isinstance(method, SendsStatements)
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    await world.advance(86400)

    async def lost(request: Request) -> Response:
        raise NoAnswer("reset")

    world.route("https://alipay.example/bill/", lost)
    assert isinstance(await method.fetch_statement(world, MORNING.date()), Unknown)
    world.route("https://alipay.example/gateway", lost)
    assert isinstance(await method.fetch_statement(world, MORNING.date()), Unknown)


async def test_an_answer_without_an_address_is_no_bill() -> None:
    world, simulator, method, _ = a_world()
    assert isinstance(method, SendsStatements)
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    await world.advance(86400)
    simulator.base_url = "file:///etc"
    asked = await method.fetch_statement(world, MORNING.date())
    assert asked == Unknown("Alipay names no address of the bill.", "NO_ADDRESS")
