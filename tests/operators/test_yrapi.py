"""Wholesale platforms that speak yrapi: against their own simulator for each trouble, and with answers bent by hand."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from tests.operators.wires import DELIVERED, PERHAPS, REFUSED, credited, ending, kind
from tests.operators.wires import a_recharge as any_recharge
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.errors import BadInput, NotVerified
from refill.money import Money, money
from refill.operators import Flags, PriceLine, Recharge, SupplierNotice, suppliers_by_name
from refill.operators.yrapi import FRESH, REFUSES, Yrapi, signature
from refill.operators.yrapi import PERHAPS as THEY_HAVE_IT
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, Done, Refused, Unknown
from refill.simulators.yrapi import WHAT_HAPPENS, YrapiSimulator, leads
from refill.world import Request, Response

KEY, URL = "only for these tests", "https://dayuan.example/yrapi.php"
US = "https://us.example/callbacks/suppliers/dayuan"
SETTINGS = {
    "yrapi_suppliers": "dayuan",
    "yrapi_dayuan_url": URL,
    "yrapi_dayuan_userid": "10001",
    "yrapi_dayuan_apikey": KEY,
    "yrapi_dayuan_products": "cmcc-50/50=1050, cmcc-any/50.00=1050 cmcc-any/100=1100",
    "yrapi_dayuan_notify_url": US,
    "yrapi_dayuan_notices_from": "203.0.113.7 198.51.100.0/24",
}


def a_platform(**other: str) -> Yrapi:
    made = suppliers_by_name({**SETTINGS, **{f"yrapi_dayuan_{name}": value for name, value in other.items()}})["dayuan"]
    assert isinstance(made, Yrapi)
    return made


DAYUAN = a_platform()


def a_recharge(*number: str, **other: Any) -> Recharge:
    return any_recharge(*number, **{"operator": "cmcc", "product": "cmcc-50", **other})


def a_world(**settings: Any) -> tuple[FixedWorld, YrapiSimulator, Inbox]:
    world, inbox = FixedWorld(), Inbox()
    platform = YrapiSimulator(**world.surroundings(), apikey=KEY, base_url=URL, notify_url=US, **settings)
    world.route(URL, platform.handle)
    world.route(US, inbox.handle)
    return world, platform, inbox


async def test_an_order_is_taken_first_and_known_when_asked_about() -> None:
    world, platform, _ = a_world(float_minor=100_000)
    assert await DAYUAN.recharge(world, a_recharge()) == Unknown("The supplier is working on it.")
    delivered = await DAYUAN.inquire(world, a_recharge())
    assert isinstance(delivered, Done)
    assert (delivered.reference.face, delivered.reference.cost) == (money("50 CNY"), None)
    assert credited(platform) == [5000]
    assert await DAYUAN.balance(world, "CNY") == Done(Money(100_000 - 4925, "CNY"))


# What each trouble comes to: (our answer at once, an inquiry at once, an inquiry two minutes later, credit at the end)
NOT_TAKEN = (REFUSED, PERHAPS, PERHAPS, [])  # turned away: their list does not have it
FINE = (PERHAPS, DELIVERED, DELIVERED, [5000])
LATER = (PERHAPS, PERHAPS, DELIVERED, [5000])
COMES_TO = {
    **dict.fromkeys(["slow", "lost", "duplicate", "odd_code", "html", "truncated", "huge", "error_500"], FINE),
    **dict.fromkeys(["contradicts", "unsigned"], FINE),
    **dict.fromkeys(["hidden", "later", "wrong_amount", "wrong_number"], LATER),
    **dict.fromkeys(["refused", "busy"], NOT_TAKEN),
    **dict.fromkeys(["not_ours", "empty_float"], (PERHAPS, REFUSED, REFUSED, [])),
    "partial": (PERHAPS, DELIVERED, DELIVERED, [2500]),
    "fails_later": (PERHAPS, PERHAPS, REFUSED, []),
    "reversed": (PERHAPS, DELIVERED, REFUSED, [5000]),
    "silent": (PERHAPS, PERHAPS, PERHAPS, []),
}


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_what_a_trouble_comes_to(trouble: str) -> None:
    world, platform, inbox = a_world()
    ask = a_recharge(ending(trouble))
    at_once, asked = await DAYUAN.recharge(world, ask), await DAYUAN.inquire(world, ask)
    await world.advance(120)
    later = await DAYUAN.inquire(world, ask)
    assert (kind(at_once), kind(asked), kind(later), credited(platform)) == COMES_TO[trouble]
    if trouble == "unsigned":
        with pytest.raises(NotVerified):
            DAYUAN.read_notice(inbox.notices[0].body, inbox.notices[0].headers)
    else:
        told = {DAYUAN.read_notice(notice.body, notice.headers).request_id for notice in inbox.notices}
        assert told == (set() if COMES_TO[trouble] == NOT_TAKEN or trouble == "silent" else {"rq_1"})


@pytest.mark.parametrize(
    ("trouble", "refused"),
    [
        ("empty_float", Refused(EMPTY_FLOAT, "cancelled", final=False)),
        ("not_ours", Refused("the supplier could not deliver", "failed")),
    ],
)
async def test_the_refusals_of_what_was_taken(trouble: str, refused: Refused) -> None:
    world, _, _ = a_world()
    await DAYUAN.recharge(world, a_recharge(ending(trouble)))
    assert await DAYUAN.inquire(world, a_recharge(ending(trouble))) == refused


async def test_a_drained_float_parks_and_a_filled_one_delivers() -> None:
    world, platform, _ = a_world(float_minor=4924)
    await DAYUAN.recharge(world, a_recharge())
    assert await DAYUAN.inquire(world, a_recharge()) == Refused(EMPTY_FLOAT, "cancelled", final=False)
    platform.float_minor += 1
    await DAYUAN.recharge(world, a_recharge(request_id="rq_2"))
    assert isinstance(await DAYUAN.inquire(world, a_recharge(request_id="rq_2")), Done)
    assert await DAYUAN.balance(world, "CNY") == Done(Money(0, "CNY"))


async def test_a_number_that_they_have_already_is_asked_about_never_refused() -> None:
    world, platform, _ = a_world()
    await DAYUAN.recharge(world, a_recharge())
    again = await DAYUAN.recharge(world, a_recharge())
    assert again == Unknown("the supplier has this order already: ask what became of it")
    assert credited(platform) == [5000]


async def test_two_orders_under_one_number_are_a_matter_for_a_person() -> None:
    world, platform, _ = a_world(dedups=False)
    for _ in range(2):
        await DAYUAN.recharge(world, a_recharge())
    assert credited(platform) == [5000, 5000]
    assert await DAYUAN.inquire(world, a_recharge()) == Unknown(
        "The supplier lists several orders under one number of ours.", "LISTED_TWICE"
    )


async def test_never_heard_of_it_is_not_a_refusal() -> None:
    world, _, _ = a_world()
    assert await DAYUAN.inquire(world, a_recharge()) == Unknown(NOT_FOUND)


async def test_a_price_above_what_we_agreed_is_refused_by_them() -> None:
    world, platform, _ = a_world()
    high = await DAYUAN.recharge(world, a_recharge(most_cost=money("49.24 CNY")))
    assert high == Refused("the supplier's price is higher than agreed", "成本限制，提单不通过！", final=False)
    await DAYUAN.recharge(world, a_recharge(most_cost=money("49.25 CNY")))
    assert credited(platform) == [5000]


async def test_a_product_of_another_face_value_is_refused_by_them() -> None:
    world, platform, _ = a_world()
    wrong = a_platform(products="cmcc-50/50=1100")
    refused = await wrong.recharge(world, a_recharge())
    assert refused == Refused(
        "the supplier's product has another face value", "面值检测不相同，提单不通过！", final=False
    )
    assert credited(platform) == []
    await a_platform(products="cmcc-50/50=1100", face_guard="no").recharge(world, a_recharge())
    assert credited(platform) == [10000], "without the guard it is the product that counts"


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (a_recharge(product="cmcc-30"), "no_product"),
        (a_recharge(face=money("49.99 CNY")), "no_product"),
        (a_recharge("33612345678"), "not_chinese"),
        (a_recharge("861380013800"), "not_chinese"),
        (a_recharge("8602138001380"), "not_chinese"),
    ],
)
async def test_what_they_cannot_deliver_is_not_sent(ask: Recharge, code: str) -> None:
    world, _, _ = a_world()
    assert await DAYUAN.recharge(world, ask) == Refused(NOT_SENT, code, final=False)
    assert world.sent == []


async def test_with_another_key_nothing_is_done_and_nothing_refused() -> None:
    world, platform, _ = a_world()
    stranger = replace(DAYUAN, apikey="another key")
    assert await stranger.recharge(world, a_recharge()) == Unknown(
        "The supplier says what nobody documented.", "签名错误"
    )
    assert await stranger.inquire(world, a_recharge()) == Unknown("The supplier does not let us ask.", "签名错误")
    assert kind(await stranger.balance(world, "CNY")) == PERHAPS
    assert kind(await stranger.price_list(world)) == PERHAPS
    assert credited(platform) == []


async def test_the_wire_is_a_form_and_its_address_names_no_number() -> None:
    world, _, _ = a_world()
    await DAYUAN.recharge(world, a_recharge(most_cost=money("49.60 CNY")))
    await DAYUAN.inquire(world, a_recharge())
    order, question = world.sent[0], world.sent[-1]
    assert (order.method, order.url) == ("POST", f"{URL}/index/recharge")
    form = dict(parse_qsl(order.body.decode(), strict_parsing=True))
    assert form.pop("sign") == signature(form, KEY)
    assert form == {
        "userid": "10001",
        "out_trade_num": "rq_1",
        "product_id": "1050",
        "mobile": "13800138000",
        "notify_url": US,
        "amount": "50",
        "price": "49.60",
    }
    assert order.timeout_s == DAYUAN.flags.timeout_s
    assert (question.method, question.url) == ("POST", f"{URL}/index/check")
    assert dict(parse_qsl(question.body.decode()))["out_trade_nums"] == "rq_1"


def test_the_signature_is_over_the_plain_text_of_every_field() -> None:
    fields = {
        "userid": "10001",
        "out_trade_num": "ABC2222",
        "product_id": "12",
        "mobile": "18866667777",
        "notify_url": "http://a.b/c?x=1",
    }
    assert signature(fields, "KEY") == "36BBFA268743DF77A60DFB57642F5641"
    assert signature({**fields, "added_later": ""}, "KEY") != signature(fields, "KEY")


@pytest.mark.parametrize("seed", range(100))
async def test_whatever_goes_wrong_done_means_credited_and_refused_means_never(seed: int) -> None:
    world, platform, _ = a_world(delay_s=(0, 20))
    world.dice.seed(seed)
    troubles = (*sorted(set(WHAT_HAPPENS) - {"reversed"}), "inquiry_lost", "inquiry_html")
    platform.troubles.chances = dict.fromkeys(world.dice.sample(troubles, 4), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcomes = [await DAYUAN.recharge(world, ask)]
        for wait in (0, 5, 30, 90):
            await world.advance(wait)
            outcomes.append(await DAYUAN.inquire(world, ask))
        truth = [credit.face_minor for credit in platform.credits if credit.request_id == ask.request_id]
        said = {type(outcome) for outcome in outcomes} - {Unknown}
        assert len(said) <= 1, "they never contradict themselves"
        assert all(truth == [outcome.reference.face.minor] for outcome in outcomes if isinstance(outcome, Done))
        assert truth == [] or Refused not in said


# Answers bent by hand


ORDER = {
    "id": 7,
    "order_number": "CZH7",
    "out_trade_num": "rq_1",
    "mobile": "13800138000",
    "product_id": 1050,
    "state": 1,
    "charge_amount": "50.00",
}


def world_that_says(said: object, status: int = 200) -> FixedWorld:
    async def handle(request: Request) -> Response:
        return Response(status, {}, said if isinstance(said, bytes) else json.dumps(said).encode())

    world = FixedWorld()
    world.route("", handle)
    return world


def listing(*orders: object) -> FixedWorld:
    return world_that_says({"errno": 0, "errmsg": "ok", "data": list(orders)})


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"out_trade_num": "RQ_1"}, "OTHER_REQUEST"),
        ({"out_trade_num": None}, "OTHER_REQUEST"),
        ({"mobile": "13800138001"}, "WRONG_NUMBER"),
        ({"mobile": "8613800138000"}, "WRONG_NUMBER"),
        ({"mobile": "13800138001", "state": 2, "charge_amount": 0}, "WRONG_NUMBER"),
        ({"charge_amount": "49.99"}, "WRONG_AMOUNT"),
        ({"charge_amount": 100}, "WRONG_AMOUNT"),
        ({"charge_amount": "５０"}, "WRONG_AMOUNT"),
        ({"charge_amount": "5e1"}, "WRONG_AMOUNT"),
        ({"charge_amount": -50}, "WRONG_AMOUNT"),
        ({"charge_amount": ["50.00"]}, "WRONG_AMOUNT"),
        ({"state": 3}, "WRONG_AMOUNT"),
        ({"state": 3, "charge_amount": 0}, "WRONG_AMOUNT"),
        ({"state": 3, "charge_amount": None}, "WRONG_AMOUNT"),
        ({"state": 2}, "FAILED_WITH_CREDIT"),
        ({"state": -1, "charge_amount": "0.01"}, "FAILED_WITH_CREDIT"),
        ({"state": 2, "charge_amount": "much"}, "FAILED_WITH_CREDIT"),
        ({"state": 4}, "state 4"),
        ({"state": None}, "state None"),
        ({"state": True}, "state True"),
        ({"state": "1 "}, "state 1 "),
        ({"order_number": ""}, "NO_REFERENCE"),
        ({"order_number": "x" * 129}, "NO_REFERENCE"),
        ({"state": 0}, ""),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_order_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    answer = await DAYUAN.inquire(listing({**ORDER, **other}), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("counted", ["50.00", 50, 50.0, "50", "0.00", 0, "", None])
async def test_a_whole_delivery_need_not_be_counted(counted: object) -> None:
    delivered = await DAYUAN.inquire(listing({**ORDER, "charge_amount": counted}), a_recharge())
    assert isinstance(delivered, Done)
    assert delivered.reference.face == money("50 CNY")


async def test_what_one_family_calls_failed_another_calls_in_part() -> None:
    half = {**ORDER, "state": 2, "charge_face": "25.00", "charge_amount": ""}
    lxtc = await a_platform(family="lxtc").inquire(listing(half), a_recharge())
    assert isinstance(lxtc, Done)
    assert lxtc.reference.face == money("25 CNY")
    failed = {**ORDER, "state": -1, "charge_amount": ""}
    assert await a_platform(family="lxtc").inquire(listing(failed), a_recharge()) == Refused(
        "the supplier could not deliver", "failed"
    )


@pytest.mark.parametrize("words", sorted(REFUSES))
async def test_only_words_in_our_table_are_a_no(words: str) -> None:
    refused = await DAYUAN.recharge(world_that_says({"errno": 1, "errmsg": f"{words}   13800138000"}), a_recharge())
    assert refused == Refused(REFUSES[words].reason, words, REFUSES[words].final)
    assert kind(await DAYUAN.recharge(world_that_says({"errno": 1, "errmsg": f"不是{words}"}), a_recharge())) == PERHAPS
    assert kind(await DAYUAN.inquire(world_that_says({"errno": 1, "errmsg": words}), a_recharge())) == PERHAPS


@pytest.mark.parametrize("errno", [1, 208, "1", 500])
async def test_that_they_have_it_already_is_never_a_no(errno: object) -> None:
    for words in THEY_HAVE_IT:
        answer = await DAYUAN.recharge(
            world_that_says({"errno": errno, "errmsg": f"{words}    rq_1    10001"}), a_recharge()
        )
        assert isinstance(answer, Unknown)


async def test_no_number_of_a_person_gets_into_an_alarm() -> None:
    answer = await DAYUAN.recharge(world_that_says({"errno": 9, "errmsg": "号码 138 0013 8000 异常"}), a_recharge())
    assert answer == Unknown("The supplier says what nobody documented.", "号码异常")
    silent = await DAYUAN.recharge(world_that_says({"errno": 9, "errmsg": "13800138000"}), a_recharge())
    assert silent == Unknown("The supplier says what nobody documented.", "errno 9")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({**ORDER, "out_trade_num": "rq_2"}, "OTHER_REQUEST"),
        ({**ORDER, "mobile": "13800138001"}, "WRONG_NUMBER"),
        ([ORDER], "OTHER_REQUEST"),
        (None, "OTHER_REQUEST"),
        ({**ORDER, "state": 1}, ""),
        ({**ORDER, "state": 2}, ""),
    ],
    ids=str,
)
async def test_that_an_order_was_taken_proves_nothing_more(data: object, code: str) -> None:
    taken = world_that_says({"errno": 0, "errmsg": "提交成功", "data": data})
    answer = await DAYUAN.recharge(taken, a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("status", [201, 302, 400, 404, 500, 502])
async def test_another_status_than_200_means_that_nobody_knows(status: int) -> None:
    no = {"errno": 1, "errmsg": "该号码无法充值"}
    assert kind(await DAYUAN.recharge(world_that_says(no, status), a_recharge())) == PERHAPS
    whole = {"errno": 0, "data": [ORDER]}
    assert kind(await DAYUAN.inquire(world_that_says(whole, status), a_recharge())) == PERHAPS
    nothing = await DAYUAN.inquire(world_that_says({"errno": 0, "data": []}, status), a_recharge())
    assert nothing != Unknown(NOT_FOUND), "only their own empty list says so"


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "ok",
        {},
        {"errno": 0},
        {"errno": 0, "data": None},
        {"errno": 0, "data": {}},
        {"errno": 0, "data": "[]"},
        {"errno": 0, "data": [None]},
        {"errno": 0, "data": [ORDER, None]},
        {"errno": False, "data": [ORDER]},
        {"errno": None, "data": [ORDER]},
        json.dumps({"errno": 0, "data": [ORDER]}).encode("utf-16"),
        json.dumps({"errno": 0, "data": [ORDER]}).encode()[:-1] + b', "errno": 0}',
        json.dumps({"errno": 0, "data": [ORDER], "more": "x" * (1 << 20)}).encode(),
        b'{"errno": NaN, "data": []}',
    ],
    ids=lambda said: repr(said)[:40],
)
async def test_rubbish_says_nothing(said: object) -> None:
    answer = await DAYUAN.inquire(world_that_says(said), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.why != NOT_FOUND


@pytest.mark.parametrize(
    ("text", "balance"),
    [("0.00", 0), ("-12.50", -1250), ("1000000.0000", 100_000_000), (12.345, 1234), ("0", 0)],
)
async def test_a_float_may_stand_at_zero_or_below(text: object, balance: int) -> None:
    world = world_that_says({"errno": 0, "data": {"id": 10001, "username": "refill", "balance": text}})
    assert await DAYUAN.balance(world, "CNY") == Done(Money(balance, "CNY"))


@pytest.mark.parametrize(
    "data",
    [None, {}, {"id": "10001"}, {"id": "10001", "balance": "much"}, {"id": "10002", "balance": "5.00"}],
)
async def test_a_balance_that_is_not_ours_or_cannot_be_read_is_unknown(data: object) -> None:
    assert kind(await DAYUAN.balance(world_that_says({"errno": 0, "data": data}), "CNY")) == PERHAPS


async def test_a_balance_is_in_yuan() -> None:
    world, _, _ = a_world()
    assert await DAYUAN.balance(world, "USD") == Unknown("The supplier keeps our float in yuan.", "WRONG_CURRENCY")


# Prices


async def test_the_price_list_names_each_operator_and_face_value() -> None:
    world, _, _ = a_world()
    listed = await DAYUAN.price_list(world)
    assert isinstance(listed, Done)
    assert len(listed.reference.lines) == 24
    assert listed.reference.unread == ()
    assert listed.reference.lines[3] == PriceLine(
        operator="1",
        product="1050",
        kind="fixed",
        face=money("50 CNY"),
        cost=money("49.25 CNY"),
        country="CN",
        name="50元",
    )


def products(*some: object) -> FixedWorld:
    return world_that_says({"errno": 0, "data": [{"id": 1, "cate": "话费", "products": list(some)}]})


@pytest.mark.parametrize(
    ("name", "price", "isp", "read"),
    [
        ("100元", "98.5", "1,2,3", [("1", 10_000, 9850), ("2", 10_000, 9850), ("3", 10_000, 9850)]),
        ("移动 50 元话费", 49.25, "1", [("1", 5000, 4925)]),
        ("话费30", "29.855", "2", [("2", 3000, 2986)]),
        ("9.9元", "9.9", "4", [("4", 990, 990)]),
        ("10G流量", "9.00", "1", []),
        ("30元10G", "9.00", "1", []),
        ("0元", "9.00", "1", []),
        ("50元", "0.00", "1", []),
        ("50元", "-1.00", "1", []),
        ("50元", None, "1", []),
        ("50元", "49.00", None, []),
        (None, "49.00", "1", []),
    ],
)
async def test_a_product_without_a_face_value_in_its_name_is_unread(
    name: object, price: object, isp: object, read: list[tuple[str, int, int]]
) -> None:
    listed = await DAYUAN.price_list(products({"id": 68, "name": name, "price": price, "isp": isp}))
    assert isinstance(listed, Done)
    assert [(line.operator, line.face.minor, line.cost.minor) for line in listed.reference.lines] == read
    assert listed.reference.unread == (() if read else ("68",))


@pytest.mark.parametrize("data", [None, {}, [None], [{}], [{"products": None}], [{"products": [None]}]], ids=str)
async def test_a_price_list_that_is_none_is_unknown(data: object) -> None:
    assert kind(await DAYUAN.price_list(world_that_says({"errno": 0, "data": data}))) == PERHAPS


# Notices


NOTICE = {
    "userid": "10001",
    "order_number": "CZH7",
    "out_trade_num": "rq_1",
    "otime": str(int(MORNING.timestamp())),
    "state": "1",
    "mobile": "13800138000",
    "remark": "充值成功",
    "charge_amount": "50.00",
    "voucher": "",
    "charge_kami": "",
}


def a_notice(key: str = KEY, **other: str) -> bytes:
    fields = {**NOTICE, **other}
    return urlencode({**fields, "sign": signature(fields, key)}).encode()


def test_a_notice_that_holds_names_an_order_and_no_more() -> None:
    noted = SupplierNotice(f"CZH7.1.{NOTICE['otime']}", "rq_1")
    assert DAYUAN.read_notice(a_notice(), {}, MORNING) == noted
    assert DAYUAN.read_notice(a_notice(added_later="新"), {}, MORNING) == noted


@pytest.mark.parametrize(("age", "fresh"), [(timedelta(0), True), (FRESH, True), (timedelta(days=1), False)])
def test_an_old_notice_still_makes_us_ask(age: timedelta, fresh: bool) -> None:
    assert DAYUAN.read_notice(a_notice(), {}, MORNING + age).fresh is fresh


@pytest.mark.parametrize(
    "body",
    [
        a_notice() + b"&state=2",
        a_notice() + b"&more=1",
        a_notice().replace(b"state=1", b"state=2"),
        a_notice().replace(b"rq_1", b"rq_2"),
        urlencode(NOTICE).encode(),
        urlencode({**NOTICE, "sign": ""}).encode(),
        urlencode({**NOTICE, "sign": "签名"}).encode(),
        a_notice("another key"),
        a_notice(userid="10002"),
        a_notice(out_trade_num=""),
        a_notice(order_number=""),
        a_notice(order_number="x" * 65),
        a_notice(state="1" * 200),
        a_notice(otime=""),
        a_notice(otime="１７９５３１２８００"),
        a_notice(otime="9" * 5000),
        a_notice(remark="x" * 70_000),
        a_notice(**{f"more{n}": "1" for n in range(100)}),
        b"sign",
        b"\xff=1",
        b"",
    ],
    ids=lambda body: repr(body[-20:]),
)
def test_a_notice_that_does_not_hold_is_refused(body: bytes) -> None:
    with pytest.raises(NotVerified):
        DAYUAN.read_notice(body, {}, MORNING)


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("203.0.113.7", True),
        ("198.51.100.200", True),
        ("203.0.113.8", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("", False),
        ("203.0.113.7, 10.0.0.1", False),
    ],
)
def test_a_notice_is_read_from_known_places_only(address: str, admitted: bool) -> None:
    assert DAYUAN.admits(address) is admitted
    assert not a_platform(notices_from="").admits(address), "with no list, from nowhere"


# Settings


def test_the_simulator_tells_how_it_is_reached() -> None:
    told = leads(lambda name, make: make(), "http://127.0.0.1:8006")
    made = suppliers_by_name(told)["dayuan"]
    assert isinstance(made, Yrapi)
    assert made.flags == Flags(False, timedelta(minutes=30), False, 30)
    assert made.admits("127.0.0.1")
    assert made.products["cmcc-50", money("50 CNY")] == "1050"
    assert str(told["yrapi_dayuan_apikey"]) not in repr(made)


def test_who_knows_the_platform_better_says_so() -> None:
    sure = a_platform(dedups="yes", not_found_final_s="never", timeout_s="15")
    assert sure.flags == Flags(True, None, False, 15)
    assert a_platform(url="http://10.0.0.5/yrapi.php", plain_http="yes").base_url == "http://10.0.0.5/yrapi.php"
    assert set(suppliers_by_name({})) == {"pins"}  # our own stock needs no setting


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", ""),
        ("url", "http://dayuan.example/yrapi.php"),
        ("userid", ""),
        ("apikey", ""),
        ("products", ""),
        ("products", "cmcc-50=68"),
        ("products", "cmcc-50/0=68"),
        ("products", "cmcc-50/50.001=68"),
        ("products", "cmcc-50/50="),
        ("family", "dyr"),
        ("face_guard", "perhaps"),
        ("notices_from", "dayuan.example"),
        ("notices_from", "203.0.113.7/8"),
        ("not_found_final_s", "soon"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"yrapi_dayuan_{name}"):
        a_platform(**{name: value})
