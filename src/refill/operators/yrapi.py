"""The supplier `yrapi`: Chinese wholesale platforms of the family 大猿人, which all speak one wire, signed with MD5.

Sources: the API page that the platforms publish ("话费充值平台V2.0", kancloud and showdoc), and for what it leaves open
public copies of the platform itself. The wire is forms by POST and JSON back, under an address such as
`https://host/yrapi.php`:

- `index/recharge` takes an order; the answer says no more than that they have it. A product has one face value, so ours
  are matched with theirs in the settings; `amount` and `price` make them refuse another face value and a higher price
- `index/check` lists the orders of a number of ours, each with a `state`; `index/user` our balance; `index/product` prices
- a notice is a form with the same words, answered `success`

Nothing here proves much. An answer is not signed at all and rests on TLS alone; the MD5 of a notice can be forged by
who has time. So a notice is read only from the addresses in the settings, and only ever makes us ask (Quarantined).

The three flags, where the settings say nothing else: an `out_trade_num` is refused a second time, but by looking first
and writing afterwards, and one that they cancelled is free again, so the same order twice may be two recharges. An order
is written before they answer and `check` shows it in every state, so one that is not there half an hour after our
request ended will not come. `index/cancel` asks to stop what has not begun; nothing takes credit back.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl, urlencode

from refill.errors import BadInput, NotAnAmount, NotVerified
from refill.money import Money, amount
from refill.operators.supplier import (
    Delivery,
    Example,
    Flags,
    PriceLine,
    PriceList,
    Recharge,
    Said,
    Supplier,
    SupplierNotice,
    exactly,
    json_value,
    names_in,
    nearly,
)
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "yrapi"
CURRENCY = "CNY"
FRESH = timedelta(minutes=30)
MAX_ANSWER, MAX_PRICES, MAX_NOTICE = 1 << 20, 8 << 20, 1 << 16

# What they say instead of taking an order. `errno` is 1 for nearly everything, so their words are the code, without
# the numbers of people and orders that follow some of them.
REFUSES = {
    "手机号格式不正确": Refused("the supplier does not know such a number"),
    "该号码无法充值": Refused("the supplier takes no credit for this number"),
    "该账号检测状态不正常，请核实后再提交订单": Refused("the supplier finds this number out of service"),
    "当前号码已经存在订单": Refused("the supplier has another order for this number open", final=False),
    "未找到相关产品(产品ID不正确或已下架)": Refused("the supplier does not sell this product now", final=False),
    "要充值的产品还没有准备好，请联系平台！": Refused("the supplier does not sell this product now", final=False),
    "面值检测不相同，提单不通过！": Refused("the supplier's product has another face value", final=False),
    "成本限制，提单不通过！": Refused("the supplier's price is higher than agreed", final=False),
}
# Documented, and no more than "perhaps". Every other word means it too, and alarms.
PERHAPS = {"已经存在相同商户订单号的订单": "the supplier has this order already: ask what became of it"}

_FAILED = Refused("the supplier could not deliver", "failed")
# The states of an order, by family. An API order is cancelled when our balance there could not pay for it.
STATES: dict[str, Mapping[str, str | Refused]] = {
    "dayuanren": {
        "0": "working",
        "1": "whole",
        "2": _FAILED,
        "3": "part",
        "-1": Refused(EMPTY_FLOAT, "cancelled", final=False),
    },
    "lxtc": {"0": "working", "1": "whole", "2": "part", "-1": _FAILED},
}
_DELIVERED_FACE = {"dayuanren": "charge_amount", "lxtc": "charge_face"}


@dataclass(frozen=True)
class Yrapi:
    """One platform. `userid` and `apikey` are ours there; `products` leads from our product and face to their product."""

    name: str
    base_url: str
    userid: str
    apikey: str = field(repr=False)
    flags: Flags
    products: Mapping[tuple[str, Money], str]
    family: str = "dayuanren"
    face_guard: bool = True
    notify_url: str = ""
    notices_from: tuple[IPv4Network | IPv6Network, ...] = ()

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        product, mobile = self.products.get((ask.product, ask.face)), _mobile(ask.msisdn)
        if product is None or mobile is None:
            return Refused(NOT_SENT, "no_product" if product is None else "not_chinese", final=False)
        order = {
            "out_trade_num": ask.request_id,
            "product_id": product,
            "mobile": mobile,
            "notify_url": self.notify_url,
        }
        if self.face_guard:
            order["amount"] = ask.face.text().removesuffix(".00")
        if ask.most_cost is not None and ask.most_cost.currency == CURRENCY:
            order["price"] = ask.most_cost.text()
        request = self._signed("index/recharge", order)
        # A worker that froze wakes here; by now another may have asked in its place. Nothing may stand between this
        # line and the call. Unknown, not refused: an earlier sending of the same request may be on its way.
        if world.db_now() >= ask.send_before:
            return Unknown("It was too late to send this request.")
        try:
            return _taken(_answer(await call(world, request)), ask, mobile)
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("The supplier did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The supplier's answer cannot be believed: {error}"[:200])

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        try:
            said = _answer(await call(world, self._signed("index/check", {"out_trade_nums": ask.request_id})))
            if said["errno"] != "0":
                return Unknown("The supplier does not let us ask.", _words(said))
            return self._became(said.get("data"), ask)
        except (NotSent, NoAnswer):
            return Unknown("The supplier did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The supplier's answer cannot be believed: {error}"[:200])

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        if currency != CURRENCY:
            return Unknown("The supplier keeps our float in yuan.", "WRONG_CURRENCY")
        try:
            said = _answer(await call(world, self._signed("index/user", {})))
            mine = said.get("data")
            if said["errno"] != "0" or not isinstance(mine, dict):
                return Unknown("The supplier does not tell our balance.", _words(said))
            if mine.get("id") != self.userid:
                return Unknown("The supplier tells somebody else's balance.", "OTHER_USER")
            return Done(nearly(mine.get("balance"), CURRENCY))
        except (NotSent, NoAnswer):
            return Unknown("The supplier did not answer.")
        except (ValueError, RecursionError, NotAnAmount) as error:
            return Unknown(f"The supplier's answer cannot be believed: {error}"[:200])

    async def price_list(self, world: World) -> Outcome[PriceList]:
        """Every product that they sell us, once for each operator (1 移动, 2 电信, 3 联通, 4 virtual) whose credit it is.

        The face value stands in the name alone ("100元"); what has none, such as data, is unread.
        """
        try:
            said = _answer(await call(world, self._signed("index/product", {}, MAX_PRICES)), MAX_PRICES)
            if said["errno"] != "0":
                return Unknown("The supplier does not tell its prices.", _words(said))
            return Done(_prices(said.get("data")))
        except (NotSent, NoAnswer):
            return Unknown("The supplier did not answer.")
        except (ValueError, RecursionError) as error:
            return Unknown(f"The supplier's price list cannot be believed: {error}"[:200])

    def admits(self, address: str) -> bool:
        """Only the addresses in the settings; with none, no notice is read and we ask by ourselves."""
        try:
            place = ip_address(address)
        except ValueError:
            return False
        return any(place in known for known in self.notices_from)

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        said = _form(body)
        sign = said.pop("sign", "")
        if not hmac.compare_digest(sign.encode("utf-8", "replace"), signature(said, self.apikey).encode()):
            raise NotVerified("The signature of the notice does not hold.")
        request_id, theirs, stamp = said.get("out_trade_num", ""), said.get("order_number", ""), said.get("otime", "")
        if said.get("userid") != self.userid or not request_id or not re.fullmatch(r"[0-9]{10}", stamp):
            raise NotVerified("The notice is not about an order of ours.")
        id_ = f"{theirs}.{said.get('state', '')}.{stamp}"
        if not 0 < len(theirs) <= 64 or len(id_) > 128:
            raise NotVerified("The notice names no order of theirs.")
        happened = datetime.fromtimestamp(int(stamp), UTC)
        return SupplierNotice(id_, request_id, received_at is None or abs(received_at - happened) <= FRESH)

    def _became(self, listed: object, ask: Recharge) -> Outcome[Delivery]:
        """What their list of the orders under our number means for `ask`. Raises ValueError."""
        if not isinstance(listed, list) or not all(isinstance(order, dict) for order in listed):
            raise ValueError("it lists no orders")
        if not listed:
            return Unknown(NOT_FOUND)
        if len(listed) > 1:
            return Unknown("The supplier lists several orders under one number of ours.", "LISTED_TWICE")
        order: Mapping[str, Any] = listed[0]
        if order.get("out_trade_num") != ask.request_id:
            return Unknown("The supplier's answer is about another order.", "OTHER_REQUEST")
        if order.get("mobile") != _mobile(ask.msisdn):
            return Unknown("The supplier names another number.", "WRONG_NUMBER")
        face = _face(order.get(_DELIVERED_FACE[self.family]))
        match STATES[self.family].get(said := str(order.get("state"))):
            case Refused() as no:
                # One family's word for "failed" is another's for "in part", so a failure must not name any credit.
                return no if face == 0 else Unknown("The supplier says failed and names credit.", "FAILED_WITH_CREDIT")
            case "working":
                return Unknown("The supplier is working on it.")
            case "whole" if face in (0, ask.face.minor):  # they fill it in only when they kept count on the way
                return _delivered(order, ask, ask.face)
            case "part" if face is not None and 0 < face < ask.face.minor:
                return _delivered(order, ask, Money(face, CURRENCY))
            case None:
                return Unknown("The supplier names a state that is not documented.", f"state {said}"[:64])
        return Unknown("The supplier names another amount.", "WRONG_AMOUNT")

    def _signed(self, path: str, fields: Mapping[str, str], most_bytes: int = MAX_ANSWER) -> Request:
        form = {"userid": self.userid, **fields}
        body = urlencode({**form, "sign": signature(form, self.apikey)}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        url = f"{self.base_url.rstrip('/')}/{path}"
        return Request("POST", url, headers, body, self.flags.timeout_s, most_bytes)


def signature(fields: Mapping[str, str], apikey: str) -> str:
    """MD5 in capitals over every field but `sign`, by name and unquoted, and the key behind them (page, §2.2)."""
    text = "&".join([f"{name}={value}" for name, value in sorted(fields.items())] + [f"apikey={apikey}"])
    return md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest().upper()


SETTINGS = {
    "yrapi_suppliers": PortSetting("text", "names of platforms that speak yrapi (大猿人), such as `dayuan`"),
    "yrapi_*": PortSetting("text", "what each of them needs, such as `REFILL_YRAPI_DAYUAN_URL`"),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """One supplier for each name in `yrapi_suppliers`, e.g. "dayuan".

    Needs `yrapi_dayuan_url`, `…_userid`, `…_apikey` and `…_products`, such as "cmcc-50/50=68 cmcc-100/100=69": our
    product, its face value in yuan, their product.
    Optional: `…_notify_url` and `…_notices_from` (addresses or networks; without them no notice is read), `…_family`
    (dayuanren | lxtc), `…_face_guard` (no, where the names of their products hold other digits than the face value),
    `…_plain_http`, `…_timeout_s`, and the flags `…_dedups` and `…_not_found_final_s`.
    """
    return [_one(name, settings) for name in names_in(settings, NAME)]


def _one(name: str, settings: Mapping[str, str]) -> Supplier:
    flags = {f"{NAME}_{name}_dedups": "no", f"{NAME}_{name}_not_found_final_s": "1800"}
    said = Said(NAME, name, {**flags, **settings})
    family = said.text("family", "dayuanren")
    if family not in STATES:
        raise BadInput(f"The setting yrapi_{name}_family is {family!r}; write {' or '.join(STATES)}.")
    return Yrapi(
        name,
        said.address(),
        said.text("userid"),
        said.text("apikey"),
        said.flags(can_reverse=False),
        _products(said),
        family,
        said.yes("face_guard", "yes"),
        said.text("notify_url", ""),
        _networks(said),
    )


def _products(said: Said) -> Mapping[tuple[str, Money], str]:
    try:
        return dict(_product(entry) for entry in said.text("products").replace(",", " ").split())
    except NotAnAmount as error:
        raise BadInput(f"The setting yrapi_{said.name}_products cannot be used: {error}") from None


def _product(entry: str) -> tuple[tuple[str, Money], str]:
    match = re.fullmatch(r"([^/=]+)/([^/=]+)=([0-9A-Za-z_-]{1,32})", entry)
    if match is None:
        raise NotAnAmount(f"{entry[:60]!r} is not our product, its face value and theirs, such as cmcc-50/50=68.")
    return (match[1], amount(match[2], CURRENCY)), match[3]


def _networks(said: Said) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text) for text in said.text("notices_from", "").replace(",", " ").split())
    except ValueError as error:
        raise BadInput(f"The setting yrapi_{said.name}_notices_from holds what is no address: {error}.") from None


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """A platform with a throw-away key, and what it answers: first to the order, then to a question about it."""
    flags = Flags(dedups_our_reference=False, not_found_is_final_after=timedelta(minutes=30), can_reverse=False)
    face, late = Money(5000, CURRENCY), datetime(2100, 1, 1, tzinfo=UTC)
    products = {("cmcc-50", face): "68"}
    supplier = Yrapi("dayuan", "https://dayuan.example/yrapi.php", "10001", "a key for examples", flags, products)
    ask = Recharge("rq_1", "8613800138000", face, "cmcc", "cmcc-50", late, Money(4925, CURRENCY))
    mine = '"out_trade_num":"rq_1","order_number":"CZH1","mobile":"13800138000","product_id":68'
    taken = '{"errno":0,"errmsg":"提交成功","data":{' + mine + ',"total_price":"49.25"}}'

    def example(
        says: str, expect: str, orders: str, reason: str = "", *, at_once: str = "unknown", first: str = taken
    ) -> Example:
        listed = f'{{"errno":0,"errmsg":"ok","data":[{orders}]}}'

        def answers(request: Request) -> Response:
            text = listed if request.url.endswith("index/check") else first
            return Response(200, {"content-type": "application/json"}, text.encode())

        return Example(says, ask, answers, expect, reason, at_once)

    def order(state: int, credited: str = "0.00", about: str = mine) -> str:
        return f'{{{about},"state":{state},"charge_amount":"{credited}"}}'

    def no(words: str, errno: int = 1) -> str:
        return f'{{"errno":{errno},"errmsg":"{words}","data":""}}'

    return supplier, [
        example("delivered, and they counted", "done", order(1, "50.00")),
        example("delivered, and they did not count", "done", order(1)),
        example("half of it delivered", "done", order(3, "25.00")),
        example("in part, but they do not say how much", "unknown", order(3)),
        example("delivered, but to another number", "unknown", order(1, about=mine.replace("138000", "138001"))),
        example("delivered, but another amount", "unknown", order(1, "30.00")),
        example("the answer to another order", "unknown", order(1, about=mine.replace("rq_1", "RQ_1"))),
        example("two orders under our one number", "unknown", f"{order(1)},{order(2)}"),
        example("still at it", "unknown", order(0)),
        example("failed", "refused", order(2)),
        example("failed, yet something was credited", "unknown", order(2, "25.00")),
        example("our float is used up", "refused", order(-1), EMPTY_FLOAT),
        example("a state that nobody documented", "unknown", order(7)),
        example("they never heard of it", "unknown", "", NOT_FOUND),
        example("they take no credit for this number", "unknown", "", at_once="refused", first=no("该号码无法充值")),
        example("they have our order already", "done", order(1), first=no("已经存在相同商户订单号的订单", 208)),
        example("words that nobody documented", "unknown", "", first=no("系统繁忙")),
    ]


def _answer(response: Response, most_bytes: int = MAX_ANSWER) -> dict[str, Any]:
    """An answer with its `errno`. Raises ValueError: anything but 200 means that nobody knows (page, §2.3)."""
    if response.status != 200 or len(response.body) > most_bytes:
        raise ValueError("it is too long, or not what they answer when all is well")
    said = json_value(response.body)
    if not isinstance(said, dict) or not isinstance(said.get("errno"), str):
        raise ValueError("it has no errno")
    return said


def _taken(said: Mapping[str, Any], ask: Recharge, mobile: str) -> Outcome[Delivery]:
    """What their answer to an order means. That they have it is all they ever say at once."""
    if said["errno"] == "0":
        order = said.get("data")
        if not isinstance(order, dict) or order.get("out_trade_num") != ask.request_id:
            return Unknown("The supplier's answer is about another order.", "OTHER_REQUEST")
        if order.get("mobile") != mobile:
            return Unknown("The supplier names another number.", "WRONG_NUMBER")
        return Unknown("The supplier is working on it.")
    words = _words(said)
    if words in REFUSES:
        return Refused(REFUSES[words].reason, words, REFUSES[words].final)
    return Unknown(PERHAPS[words]) if words in PERHAPS else Unknown("The supplier says what nobody documented.", words)


def _words(said: Mapping[str, Any]) -> str:
    """Their words alone: behind a wide gap come the numbers they are about, and digits may be a person's."""
    words = re.split(r"\s{2,}", str(said.get("errmsg")).strip(), maxsplit=1)[0]
    return re.sub(r"[\d\s]+", "", words)[:64] or f"errno {said['errno']}"[:64]


def _delivered(order: Mapping[str, Any], ask: Recharge, face: Money) -> Outcome[Delivery]:
    reference = order.get("order_number")
    if not isinstance(reference, str) or not 0 < len(reference) <= 128:
        return Unknown("The supplier names no order of its own.", "NO_REFERENCE")
    return Done(Delivery(reference, ask.msisdn, face))


def _mobile(msisdn: str) -> str | None:
    """The eleven digits that they know, of a Chinese number."""
    return msisdn[2:] if re.fullmatch(r"861[0-9]{10}", msisdn) else None


def _face(said: object) -> int | None:
    """The credit that an order names, in fen: 0 where it names none, None where it cannot be read."""
    if said in (None, "") or (isinstance(said, str) and re.fullmatch(r"0{1,9}(\.0{1,9})?", said)):
        return 0
    try:
        return exactly(said, CURRENCY).minor
    except NotAnAmount:
        return None


def _prices(groups: object) -> PriceList:
    """Their groups of products as one list. Raises ValueError when it is none."""
    if not isinstance(groups, list):
        raise ValueError("it is not a list")
    lines: list[PriceLine] = []
    unread: list[str] = []
    for group in groups:
        products = group.get("products") if isinstance(group, dict) else None
        if not isinstance(products, list) or not all(isinstance(product, dict) for product in products):
            raise ValueError("a group has no products")
        for product in products:
            read = _lines(product)
            lines += read
            unread += [] if read else [str(product.get("id"))[:64]]
    return PriceList(tuple(lines), tuple(unread))


def _lines(product: Mapping[str, Any]) -> list[PriceLine]:
    """One product, once for each operator it is for; none where no face value or price can be read."""
    id_, name, operators = product.get("id"), product.get("name"), product.get("isp")
    if not isinstance(id_, str) or not isinstance(name, str) or not isinstance(operators, str):
        return []
    named = re.fullmatch(r"[^0-9]*([0-9]{1,6}(?:\.[0-9]{1,2})?) *(?:元[^0-9]*)?", name)
    try:
        face = exactly(named[1] if named else None, CURRENCY)
        cost = nearly(product.get("price"), CURRENCY)
    except NotAnAmount:
        return []
    if cost.minor <= 0:
        return []
    return [
        PriceLine(operator=isp, product=id_, kind="fixed", face=face, cost=cost, country="CN", name=name)
        for isp in operators.split(",")
        if re.fullmatch(r"[0-9]{1,4}", isp)
    ]


def _form(body: bytes) -> dict[str, str]:
    """The fields of a notice, each once. Raises NotVerified."""
    try:
        if len(body) > MAX_NOTICE:
            raise ValueError("too long")
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=64)
    except ValueError:
        raise NotVerified("The notice is not a form.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotVerified("The notice says something twice.")
    return fields
