"""The JD Pay simulator is honest: a second reading of the firm's documents is content with it, and so is our own method.

There is no official client in Python. `Shop` below is one, written from the interface document V1.2 and the firm's demos,
with the integers of RSA and the bare 3DES cipher: it shares no line with our method.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from random import Random
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx2
import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.money import Money, money
from refill.outcome import Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    Charge,
    Invitation,
    Method,
    RawNotice,
    RefundAsk,
    methods_by_name,
)
from refill.simulators import jd_pay
from refill.simulators.jd_pay import REPEATS_S, JdPaySimulator, leads, make_keys, plays
from refill.simulators.serve import address, listen, serving, surroundings
from refill.world import Request, Response

MERCHANT = "110000000001"
KEYS = make_keys()
GATE = "https://jd.example"
US = "https://us.example/callbacks/jd_pay"
OK = Response(200, {}, b"ok")


def our_method(gateway: str = GATE) -> Method:
    return methods_by_name(
        {
            "jd_pay_merchant": MERCHANT,
            "jd_pay_private_key_file": KEYS.merchant_private,
            "jd_pay_public_key_file": KEYS.jd_public,
            "jd_pay_des_key": KEYS.des,
            "jd_pay_gateway": gateway,
            "jd_pay_notify_url": US,
            "jd_pay_statement_key": KEYS.statement,
        }
    )["jd_pay"]


def a_world(answer: Response = OK, **settings: Any) -> tuple[FixedWorld, JdPaySimulator, Method, Inbox]:
    world, inbox = FixedWorld(), Inbox(answer)
    simulator = JdPaySimulator(**world.surroundings(), merchant=MERCHANT, keys=KEYS, base_url=GATE, **settings)
    world.route(GATE, simulator.handle)
    world.route(US, inbox.handle)
    return world, simulator, our_method(), inbox


def a_charge(reference: str = "pay_1", **other: Any) -> Charge:
    fields = {"reference": reference, "amount": money("49.80 CNY"), "subject": "手机充值 50 元 & <b>"}
    expires_at = MORNING + timedelta(minutes=15)
    return Charge(**{**fields, "expires_at": expires_at, "return_url": "https://us.example/o?lang=zh&a=b", **other})


def a_refund(request_id: str = "rf_1", fen: int = 4980) -> RefundAsk:
    return RefundAsk(request_id, "pay_1", "payU1", Money(fen, "CNY"), money("49.80 CNY"), "not delivered")


async def post(world: FixedWorld, url: str, fields: dict[str, str] | None = None) -> Response:
    return await world.send(Request("POST", url, {}, urlencode(fields or {}).encode()))


async def get(world: FixedWorld, url: str) -> Response:
    return await world.send(Request("GET", url))


async def opened(world: FixedWorld, method: Method, charge: Charge) -> str:
    """The person's browser sends our form; gives the address of the page on which to pay."""
    begun = await method.begin(world, charge)
    assert isinstance(begun, Done)
    assert begun.reference.kind == "form"
    answer = await post(world, begun.reference.url, dict(begun.reference.fields))
    assert answer.status == 303, answer.body.decode()
    return answer.headers["location"]


# Our method and the simulator, in still time


async def test_a_person_pays_and_everybody_agrees() -> None:
    world, simulator, method, inbox = a_world()
    cashier = await opened(world, method, a_charge())
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    page = (await get(world, cashier)).body.decode()
    assert "¥ 49.80" in page
    assert "手机充值 50 元 ＆ ＜b＞" in page
    paid = (await post(world, f"{cashier}/pay")).body.decode()
    assert 'action="https://us.example/o?lang=zh&amp;a=b"' in paid
    await world.advance()

    found = await method.query(world, "pay_1")
    notice = method.read_notice(RawNotice(inbox.notices[0].body, {}, world.clock))
    assert isinstance(found, Done)
    assert (notice.fresh, notice.reference, notice.capture) == (True, "pay_1", found.reference)
    assert found.reference.amount == money("49.80 CNY")
    assert found.reference.paid_at == MORNING
    assert [(one.reference, one.amount_minor, one.at) for one in simulator.captures] == [("payU1", 4980, MORNING)]
    assert len(inbox.notices) == 1, "we said ok"
    assert "Paid" in (await get(world, cashier)).body.decode()


async def test_a_telephone_and_a_code_lead_to_the_same_page() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge(scene="wap"))
    begun = await method.begin(world, a_charge("pay_2", scene="qr"))
    assert isinstance(begun, Done)
    assert begun.reference == Invitation("qr", begun.reference.url)
    assert await method.begin(world, a_charge("pay_2", scene="qr")) == begun, "once more, the same code"
    scanned = await get(world, begun.reference.url)
    assert "¥ 49.80" in (await get(world, scanned.headers["location"])).body.decode()
    assert list(simulator.trades) == ["payU1", "payU2"]


async def test_a_till_reads_a_code_off_a_telephone() -> None:
    world, simulator, method, inbox = a_world()

    async def read(reference: str, code: str) -> Any:
        return await method.begin(world, a_charge(reference, scene="barcode", auth_code=code))

    assert await read("pay_1", "628888888888888888") == Done(Invitation("paid"))
    assert await read("pay_2", "628888888888880001") == Refused(
        "the card behind this code holds too little", "JMPT200011"
    )
    assert await read("pay_3", "628888888888880002") == Done(Invitation("wait"))
    assert await read("pay_4", "no code") == Refused("JD Pay refuses these particulars", "JPGT100006")
    assert isinstance(await method.query(world, "pay_1"), Done)
    assert await method.query(world, "pay_3") == Refused(WAITING, final=False)
    assert simulator.pay("payU3")
    assert isinstance(await method.query(world, "pay_3"), Done)
    await world.advance()
    assert len(inbox.notices) == 2


async def test_nobody_pays_after_it_expired() -> None:
    world, simulator, method, inbox = a_world()
    cashier = await opened(world, method, a_charge())
    await world.advance(15 * 60)
    assert not simulator.pay("payU1")
    assert "Closed" in (await post(world, f"{cashier}/pay")).body.decode()
    assert await method.query(world, "pay_1") == Refused(CLOSED)
    assert await method.close(world, "pay_1") == Done("pay_1")
    assert await method.begin(world, a_charge()) == Refused(CLOSED)
    assert (simulator.captures, inbox.notices) == ([], [])


async def test_a_form_that_is_sent_too_late_opens_nothing() -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge())
    assert isinstance(begun, Done)
    await world.advance(15 * 60)
    late = await post(world, begun.reference.url, dict(begun.reference.fields))
    assert "CASH0019" in late.body.decode()
    assert simulator.trades == {}


async def test_nobody_pays_after_we_closed_it_and_nobody_closes_what_is_paid() -> None:
    world, simulator, method, _ = a_world()
    assert await method.close(world, "pay_1") == Refused(ABSENT, "RFND000003")
    await opened(world, method, a_charge())
    assert await method.close(world, "pay_1") == Done("pay_1")
    assert not simulator.pay("payU1")
    assert await method.query(world, "pay_1") == Refused(CLOSED)
    assert await method.close(world, "pay_1") == Done("pay_1")
    assert list(simulator.closed) == ["payU1"]

    await opened(world, method, a_charge("pay_2"))
    assert simulator.pay("payU2")
    assert not simulator.pay("payU2"), "nobody pays twice"
    assert await method.close(world, "pay_2") == Refused(ALREADY_PAID)
    assert (len(simulator.captures), simulator.refunds) == (1, [])


async def test_who_pays_while_we_close_gets_the_money_back_and_we_find_it() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())

    async def pays_in_between(request: Request) -> Response:
        simulator.pay("payU1")
        return await simulator.handle(request)

    world.route(f"{GATE}/service/revoke", pays_in_between)
    assert await method.close(world, "pay_1") == Done("pay_1")
    assert [one.amount_minor for one in simulator.refunds] == [4980]
    refunded = await method.refund(world, a_refund())
    assert isinstance(refunded, Done), "it went back under the revocation's number"
    assert refunded == await method.query_refund(world, a_refund())
    assert len(simulator.refunds) == 1


async def test_who_walks_away_or_is_refused_pays_nothing_and_may_come_back() -> None:
    world, simulator, method, _ = a_world()
    cashier = await opened(world, method, a_charge())
    assert "walked away" in (await post(world, f"{cashier}/leave")).body.decode()
    assert "failed" in (await post(world, f"{cashier}/refuse")).body.decode()
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    for _ in range(2):
        assert "Paid" in (await post(world, f"{cashier}/pay")).body.decode()
    assert len(simulator.captures) == 1, "a double click pays once"
    begun = await method.begin(world, a_charge())
    assert isinstance(begun, Done)
    assert "JMPT200071" in (await post(world, begun.reference.url, dict(begun.reference.fields))).body.decode()


async def test_money_goes_back_once_for_each_request_and_never_more_than_came() -> None:
    world, simulator, method, inbox = a_world()
    await opened(world, method, a_charge())
    assert await method.refund(world, a_refund()) == Refused(ABSENT, "RFND000003")
    simulator.pay("payU1")
    assert await method.query_refund(world, a_refund()) == Refused(ABSENT, "RFND000004", final=False)
    for _ in range(3):
        assert await method.refund(world, a_refund("rf_1", 1000)) == Done("rfU1")
    assert isinstance(await method.refund(world, a_refund("rf_1", 1001)), Unknown), "another amount under one id"
    assert isinstance(await method.refund(world, a_refund("rf_2", 3981)), Refused)
    for _ in range(2):
        assert await method.refund(world, a_refund("rf_3", 3980)) == Done("rfU3")
    assert [(one.request_id, one.amount_minor) for one in simulator.refunds] == [("rfU1", 1000), ("rfU3", 3980)]
    assert isinstance(await method.query(world, "pay_1"), Done), "it was paid, though all of it went back"
    await world.advance()
    read = [method.read_notice(RawNotice(notice.body, {}, world.clock)) for notice in inbox.notices]
    assert [(notice.reference, notice.capture is None) for notice in read] == [
        ("pay_1", False),
        ("pay_1", True),
        ("pay_1", True),
    ]


@pytest.mark.parametrize("trouble", ["lost", "html", "truncated", "garbled", "unsigned", "error_after"])
async def test_a_refund_whose_answer_went_wrong_is_found_and_not_made_twice(trouble: str) -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("payU1")
    simulator.troubles.plan(trouble)
    assert isinstance(await method.refund(world, a_refund()), Unknown)
    assert await method.query_refund(world, a_refund()) == Done("rfU1")
    assert await method.refund(world, a_refund()) == Done("rfU1")
    assert len(simulator.refunds) == 1


async def test_an_error_before_anything_was_done_and_an_empty_account() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("payU1")
    simulator.troubles.plan("error_before")
    assert await method.refund(world, a_refund()) == Unknown("JD Pay does not say what became of it.")
    simulator.troubles.plan("broke")
    answer = await method.refund(world, a_refund())
    assert isinstance(answer, Refused)
    assert not answer.final
    assert simulator.refunds == []
    assert await method.refund(world, a_refund()) == Done("rfU1")


async def test_a_notice_comes_again_until_we_say_ok() -> None:
    world, simulator, method, inbox = a_world(Response(200, {}, b"success"))
    await opened(world, method, a_charge())
    simulator.pay("payU1")
    simulator.troubles.plan("lose_notice")
    arrived = []
    for wait in (0, *REPEATS_S):
        before = len(inbox.notices)
        await world.advance(wait)
        arrived.append(len(inbox.notices) - before)
    assert arrived == [0, 1, 1, 1, 1]
    assert world.clock == MORNING + timedelta(minutes=120)
    assert len({notice.body for notice in inbox.notices}) == 1, "the very same notice"
    assert not method.read_notice(RawNotice(inbox.notices[-1].body, {}, world.clock)).fresh
    await world.advance(10**6)
    assert len(inbox.notices) == 4


async def test_notices_are_doubled_delayed_and_forged_on_demand() -> None:
    world, simulator, method, inbox = a_world()
    for number, trouble in enumerate(("double_notice", "forge_notice", "late_notice")):
        inbox.notices.clear()
        await opened(world, method, a_charge(f"pay_{number}"))
        simulator.troubles.plan(trouble)
        simulator.pay(f"payU{number}")
        await world.advance()
        assert len(inbox.notices) == {"double_notice": 2, "forge_notice": 2, "late_notice": 0}[trouble]
    await world.advance(600)
    assert len(inbox.notices) == 1


async def test_a_wrong_amount_can_be_paid() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.troubles.plan("short_paid")
    assert simulator.pay("payU1")
    found = await method.query(world, "pay_1")
    assert isinstance(found, Done)
    assert found.reference.amount == money("49.79 CNY")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"merchant": "110000000002"}, "CASH000018"),
        ({"version": "V1.0"}, "CASH000018"),
        ({"sign": "AAAA"}, "CASH000007"),
        ({"amount": "1"}, "CASH000006"),
        ({"amount": "00" * 8}, "CASH000006"),
    ],
    ids=str,
)
async def test_a_form_that_was_bent_opens_nothing(change: dict[str, str], word: str) -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge())
    assert isinstance(begun, Done)
    answer = await post(world, begun.reference.url, {**begun.reference.fields, **change})
    assert word in answer.body.decode()
    assert simulator.trades == {}


async def test_trouble_ends_when_it_is_healed() -> None:
    world, simulator, method, _ = a_world(chances={"slow": 1.0})
    await opened(world, method, a_charge())
    await method.query(world, "pay_1")
    assert world.clock > MORNING
    simulator.troubles.heal()
    noon = world.clock
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert world.clock == noon


async def test_one_seed_is_one_story() -> None:
    async def story(seed: int) -> list[object]:
        world, simulator, method, inbox = a_world(chances={"lost": 0.3, "lose_notice": 0.5, "short_paid": 0.5})
        world.dice.seed(seed)
        for number in range(10):
            await opened(world, method, a_charge(f"pay_{number}"))
            simulator.pay(f"payU{number}")
            await method.query(world, f"pay_{number}")
        await world.advance(3600)
        return [simulator.captures, [notice.body for notice in inbox.notices]]

    assert await story(7) == await story(7)
    assert await story(7) != await story(8)


async def test_finance_fetches_what_happened_in_a_day() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("payU1")
    await method.refund(world, a_refund("rf_1", 1000))
    today = MORNING.date()
    assert await method.fetch_statement(world, today) == Refused(ABSENT, "00124", final=False), "the day is not over"
    await world.advance(86_400)
    sent = await method.fetch_statement(world, today)
    assert isinstance(sent, Done)
    rows = list(method.read_statement(BytesIO(sent.reference)))
    assert [
        (row.kind, row.reference, row.request_id, row.minor, row.fee_minor, row.currency, row.at) for row in rows
    ] == [
        ("payment", "pay_1", "", 4980, 30, "CNY", MORNING),
        ("refund", "pay_1", "rf_1", 1000, 0, "CNY", MORNING),
    ]
    found = await method.query(world, "pay_1")
    assert isinstance(found, Done)
    assert {row.transaction for row in rows} == {found.reference.transaction}


async def test_another_process_can_plan_trouble_and_read_the_truth() -> None:
    world, simulator, method, inbox = a_world()
    await opened(world, method, a_charge())
    assert (await post(world, f"{GATE}/troubles", {"name": "lose_notice"})).status == 204
    simulator.pay("payU1")
    await method.refund(world, a_refund())
    await world.advance()
    assert len(inbox.notices) == 1, "of the payment's and the refund's notice one was lost"
    truth = json.loads((await get(world, f"{GATE}/truth")).body)
    assert [capture["amount_minor"] for capture in truth["captures"]] == [4980]
    assert [refund["request_id"] for refund in truth["refunds"]] == ["rfU1"]


async def test_refill_up_leads_to_it_and_finds_its_keys_again() -> None:
    drawer: dict[str, str] = {}

    def keep(name: str, make: Any) -> str:
        return drawer.setdefault(name, make())

    world = FixedWorld()
    method = methods_by_name(leads(keep, GATE))["jd_pay"]
    around: Any = world.surroundings()
    world.route(GATE, plays(keep, GATE, "https://us.example", around).handle)
    await opened(world, method, a_charge(notify_url=US))
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert (jd_pay.NAME, jd_pay.PORT) == ("jd_pay", 4)


# The second reading


class Shop:
    """A merchant's client, straight from the documents."""

    def __init__(self, world: FixedWorld | None = None) -> None:
        private, public = load_pem_private_key(KEYS.merchant_private.encode(), None), KEYS.jd_public.encode()
        theirs = load_pem_public_key(public)
        assert isinstance(private, RSAPrivateKey)
        assert isinstance(theirs, RSAPublicKey)
        self.private, self.theirs, self.world = private.private_numbers(), theirs.public_numbers(), world

    def sign(self, text: str) -> str:
        """RFC 8017 §7.2.1 with block type 1 (§9.2): 00 01 FF… 00 and the digest's 64 letters; then m^d mod n."""
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest().encode("ascii")
        n = self.private.public_numbers.n
        size = (n.bit_length() + 7) // 8
        block = b"\x00\x01" + b"\xff" * (size - 3 - len(digest)) + b"\x00" + digest
        return base64.b64encode(pow(int.from_bytes(block), self.private.d, n).to_bytes(size)).decode()

    def check(self, text: str, sign: str) -> None:
        raw = base64.b64decode(sign)
        block = pow(int.from_bytes(raw), self.theirs.e, self.theirs.n).to_bytes(len(raw))
        assert re.fullmatch(rb"\x00\x01\xff{8,}\x00([0-9a-f]{64})", block)
        assert block[-64:].decode() == hashlib.sha256(text.encode("utf-8")).hexdigest()

    def des(self) -> Cipher[ECB]:
        return Cipher(TripleDES(base64.b64decode(KEYS.des)), ECB())

    def encrypt(self, text: str) -> str:
        raw = text.encode("utf-8")
        rest = (len(raw) + 4) % 8
        padded = len(raw).to_bytes(4, "big") + raw + b"\x00" * (0 if rest == 0 else 8 - rest)
        return self.des().encryptor().update(padded).hex()

    def decrypt(self, hidden: str) -> str:
        clear = self.des().decryptor().update(bytes.fromhex(hidden))
        return clear[4 : 4 + int.from_bytes(clear[:4], "big")].decode("utf-8")

    def message(self, **fields: str) -> bytes:
        """Indented, as the document's own samples are: what is signed are the lines, trimmed and joined."""
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<jdpay>", "<version>V2.0</version>"]
        lines += [f"<merchant>{MERCHANT}</merchant>", *(f"<{name}>{text}</{name}>" for name, text in fields.items())]
        signed = "".join([*lines, "</jdpay>"])
        whole = "".join([*lines, f"<sign>{self.sign(signed)}</sign>", "</jdpay>"])
        encrypt = base64.b64encode(self.encrypt(whole).encode()).decode()
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<jdpay>\n\t<version>V2.0</version>\n\t'
            f"<merchant>{MERCHANT}</merchant>\n\t<encrypt>{encrypt}</encrypt>\n</jdpay>"
        ).encode()

    def heard(self, body: bytes) -> tuple[str, ElementTree.Element]:
        """The code, and the answer once its signature holds."""
        outer = ElementTree.fromstring(body)
        code, encrypt = outer.findtext("result/code") or "", outer.findtext("encrypt")
        if not encrypt:
            return code, outer
        text = self.decrypt(base64.b64decode(encrypt).decode("ascii"))
        inner = ElementTree.fromstring(text)
        sign = inner.findtext("sign") or ""
        self.check(text.replace(f"<sign>{sign}</sign>", ""), sign)
        assert inner.findtext("merchant") == outer.findtext("merchant") == MERCHANT
        return code, inner

    async def ask(self, service: str, **fields: str) -> tuple[str, ElementTree.Element]:
        assert self.world
        request = Request("POST", f"{GATE}/service/{service}", {}, self.message(**fields))
        return self.heard((await self.world.send(request)).body)

    def form(self, fields: dict[str, str]) -> dict[str, str]:
        clear = {"version": "V2.0", "merchant": MERCHANT, **fields}
        sign = self.sign("&".join(f"{name}={clear[name]}" for name in sorted(clear)))
        return {"version": "V2.0", "merchant": MERCHANT, "sign": sign} | {
            name: self.encrypt(text) for name, text in fields.items()
        }


ORDER = {
    "tradeNum": "20261122100001",
    "tradeName": "商品名称",
    "tradeTime": "20261122100000",
    "amount": "1690",
    "orderType": "1",
    "currency": "CNY",
    "notifyUrl": US,
}


async def test_a_shop_that_only_read_the_documents_is_content_with_everything() -> None:
    world, simulator, _, inbox = a_world()
    shop = Shop(world)
    number = ORDER["tradeNum"]
    sent = shop.form({**ORDER, "callbackUrl": "https://us.example/back", "expireTime": "900", "note": "备注"})
    cashier = (await post(world, f"{GATE}/jdpay/saveOrder", sent)).headers["location"]
    code, waiting = await shop.ask("query", tradeNum=number, tradeType="0")
    assert (code, waiting.findtext("status")) == ("000000", "0")

    page = (await post(world, f"{cashier}/pay")).body.decode()
    returned = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
    sign = returned.pop("sign")
    clear = {name: shop.decrypt(text) for name, text in returned.items()}
    shop.check("&".join(f"{name}={clear[name]}" for name in sorted(clear)), sign)
    assert clear == {
        "tradeNum": number,
        "amount": "1690",
        "currency": "CNY",
        "tradeTime": "20261122100000",
        "note": "备注",
        "status": "0",
    }

    await world.advance()
    code, notice = shop.heard(inbox.notices[0].body)
    assert (code, notice.findtext("tradeNum"), notice.findtext("tradeType")) == ("000000", number, "0")
    assert (notice.findtext("amount"), notice.findtext("status")) == ("1690", "2")
    pays = notice.findall("payList/pay")
    assert [(pay.findtext("amount"), pay.findtext("currency"), pay.findtext("tradeTime")) for pay in pays] == [
        ("1690", "CNY", "20261122100000")
    ]

    back = {"oTradeNum": number, "amount": "690", "currency": "CNY"}
    code, refund = await shop.ask("refund", tradeNum="R1", notifyUrl=US, **back)
    assert (code, refund.findtext("status"), refund.findtext("oTradeNum")) == ("000000", "1", number)
    assert (await shop.ask("refund", tradeNum="R1", **back))[0] == "RFND000001"
    assert (await shop.ask("refund", tradeNum="R2", **{**back, "amount": "1001"}))[0] == "RFND000002"
    code, asked = await shop.ask("query", tradeNum="R1", oTradeNum=number, tradeType="1")
    assert (code, asked.findtext("status"), asked.findtext("amount")) == ("000000", "1", "690")
    assert (await shop.ask("query", tradeNum="R2", oTradeNum=number, tradeType="1"))[0] == "RFND000004"
    await world.advance()
    assert shop.heard(inbox.notices[1].body)[1].findtext("tradeType") == "1"

    code, drawn = await shop.ask("uniorder", **{**ORDER, "tradeNum": "2", "tradeType": "QR"})
    assert (code, drawn.findtext("tradeNum")) == ("000000", "2")
    assert (await get(world, drawn.findtext("qrCode") or "")).status == 302
    revoke = {"oTradeNum": "2", "amount": "1690", "currency": "CNY", "tradeTime": "20261122100000"}
    code, revoked = await shop.ask("revoke", tradeNum="V2", **revoke)
    assert (code, revoked.findtext("status")) == ("000000", "1")
    assert (await shop.ask("query", tradeNum="2", tradeType="0"))[1].findtext("status") == "4"
    code, taken = await shop.ask("fkmPay", **{**ORDER, "tradeNum": "3", "token": "628888888888888888"})
    assert (code, taken.findtext("status")) == ("000000", "2")
    assert [one.reference for one in simulator.captures] == [number, "3"]


@pytest.mark.parametrize(
    ("service", "change", "code"),
    [
        ("uniorder", {"tradeName": ""}, "JPGT100005"),
        ("uniorder", {"currency": "USD"}, "JPGT100005"),
        ("uniorder", {"tradeNum": "pay_1"}, "JPGT100006"),
        ("uniorder", {"amount": "0"}, "JPGT100006"),
        ("uniorder", {"amount": "16.90"}, "JPGT100006"),
        ("uniorder", {"tradeTime": "now"}, "JPGT100006"),
        ("uniorder", {"expireTime": "soon"}, "JPGT100006"),
        ("uniorder", {"tradeType": "GEN"}, "JPGT100006"),
        ("uniorder", {"tradeTime": "20261101100000"}, "CASH0019"),
        ("query", {"tradeType": "0"}, "RFND000003"),
        ("query", {"tradeType": "1", "oTradeNum": "0"}, "RFND000003"),
        ("refund", {"oTradeNum": "0"}, "RFND000003"),
        ("shiny", {}, "JPGT100001"),
    ],
    ids=str,
)
async def test_what_the_firm_refuses_the_simulator_refuses(service: str, change: dict[str, str], code: str) -> None:
    world, simulator, _, _ = a_world()
    asked = {name: text for name, text in {**ORDER, "tradeType": "QR", **change}.items() if text}
    assert (await Shop(world).ask(service, **asked))[0] == code
    assert simulator.trades == {}


@pytest.mark.parametrize(
    ("service", "change", "code"),
    [
        ("uniorder", {"amount": "1691", "tradeType": "QR"}, "CASH000005"),
        ("revoke", {"tradeNum": "20261122100001"}, "RFND000001"),
        ("revoke", {"tradeNum": "V1", "amount": "1"}, "RFND009000"),
        ("refund", {"tradeNum": "R1"}, "RFND000003"),
        ("refund", {"tradeNum": "R_1"}, "RFND009000"),
    ],
    ids=str,
)
async def test_what_does_not_fit_the_trade_is_refused(service: str, change: dict[str, str], code: str) -> None:
    world, simulator, _, _ = a_world()
    shop = Shop(world)
    await shop.ask("uniorder", **ORDER, tradeType="QR")
    assert (await shop.ask(service, **{**ORDER, "oTradeNum": ORDER["tradeNum"], **change}))[0] == code
    assert simulator.trades[ORDER["tradeNum"]].status(MORNING) == "0"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "JPGT201000"),
        (b"\xff\xfe", "JPGT201000"),
        (b"<!DOCTYPE jdpay>", "JPGT100001"),
        (b"<jdpay><a>1</a><a>2</a></jdpay>", "JPGT100001"),
        (b"<version>V2.0</version><merchant>110000000001</merchant>", "JPGT100001"),
        (b"<version>V2.0</version><merchant>110000000001</merchant><encrypt>MDA=</encrypt>", "JPGT100001"),
    ],
)
async def test_what_nobody_can_read_is_refused_by_name(body: bytes, code: str) -> None:
    world, _, _, _ = a_world()
    answer = await world.send(Request("POST", f"{GATE}/service/query", {}, body))
    assert Shop().heard(answer.body)[0] == code


async def test_a_message_that_somebody_else_signed_is_refused() -> None:
    world, _, _, _ = a_world()
    shop = Shop(world)
    shop.sign = lambda text: base64.b64encode(b"\x01" * 256).decode()  # type: ignore[method-assign]
    assert (await shop.ask("query", tradeNum="1", tradeType="0"))[0] == "JPGT100000"


@pytest.mark.parametrize(
    ("owner", "data", "code"),
    [
        ("110000000", {"name": "20261123ordercreate_110000000001.zip", "path": "0001/0001"}, "00124"),
        ("110000000", {"name": "20261122ordercreate_110000000001.zip", "path": "0001/0001"}, "0000"),
        ("110000000", {"name": "20261122ordercreate_110000000002.zip", "path": "0001/0001"}, "00124"),
        ("110000000", {"name": "20269999ordercreate_110000000001.zip", "path": "0001/0001"}, "00124"),
        ("110000000", ["what"], "00124"),
        ("220000000", {"name": "20261122ordercreate_110000000001.zip", "path": "0001/0001"}, "00111"),
    ],
    ids=str,
)
async def test_a_statement_is_given_to_its_owner_when_its_day_is_over(owner: str, data: object, code: str) -> None:
    world, _, _, _ = a_world()
    text = base64.b64encode(json.dumps(data).encode()).decode()
    md5 = hashlib.md5(f"{text}{KEYS.statement}".encode()).hexdigest()
    answer = await post(world, f"{GATE}/api/download.do", {"owner": owner, "data": text, "md5": md5})
    assert answer.headers["return-code"] == code
    assert answer.body.startswith(b"PK") is (code == "0000")


async def test_a_shop_cannot_send_people_anywhere_but_to_the_web() -> None:
    world, simulator, _, _ = a_world()
    sent = Shop().form({**ORDER, "notifyUrl": "file:///etc/passwd", "callbackUrl": "javascript:alert(1)"})
    cashier = (await post(world, f"{GATE}/jdpay/saveOrder", sent)).headers["location"]
    paid = (await post(world, f"{cashier}/pay")).body.decode()
    assert "Paid" in paid
    assert "javascript" not in paid
    await world.advance(10**6)
    assert simulator.trades[ORDER["tradeNum"]].expires_at == MORNING + timedelta(days=7)


# Over real HTTP


@dataclass
class Served:
    """The simulator on a loopback port, and our own address with what arrived there."""

    jd_pay: JdPaySimulator
    shop_url: str
    shop: Inbox


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    shop, theirs = Inbox(OK), listen()
    async with surroundings(Random(1)) as real:
        simulator = JdPaySimulator(**real, merchant=MERCHANT, keys=KEYS, base_url=address(theirs))
        async with serving(simulator, theirs), serving(shop, listen()) as shop_url:
            yield Served(simulator, shop_url, shop)


async def test_a_browser_pays_and_is_brought_back(served: Served) -> None:
    method = our_method(served.jd_pay.base_url)
    expires_at = served.jd_pay._now() + timedelta(minutes=15)
    world = FixedWorld(served.jd_pay._now())
    urls = {"notify_url": f"{served.shop_url}/notices", "return_url": f"{served.shop_url}/back"}
    begun = await method.begin(world, a_charge(expires_at=expires_at, **urls))
    assert isinstance(begun, Done)
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
        page = await browser.post(begun.reference.url, data=dict(begun.reference.fields))
        assert "手机充值" in page.text
        action = re.search(r'action="([^"]+/pay)"', page.text)
        assert action
        paid = await browser.post(action[1])
        back = re.search(r'action="([^"]+/back)"', paid.text)
        assert back
        for _ in range(200):
            if served.shop.notices:
                break
            await asyncio.sleep(0.01)
        read = method.read_notice(RawNotice(served.shop.notices[0].body, {}, served.jd_pay._now()))
        assert read.capture
        assert read.capture.amount == money("49.80 CNY")
        index = await browser.get(served.jd_pay.base_url)
        missing = await browser.get(f"{served.jd_pay.base_url}/cashier/{'0' * 32}")
        nowhere = await browser.get(f"{served.jd_pay.base_url}/nowhere")
    assert (index.status_code, missing.status_code, nowhere.status_code) == (200, 404, 404)
    assert "payU1" in index.text
    assert "default-src 'none'" in index.headers["content-security-policy"]
    assert index.headers["cache-control"] == "no-store"
