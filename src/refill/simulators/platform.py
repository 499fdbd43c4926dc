"""A super-app that sells top-ups: 生活服务 → 手机充值. It knows Refill through the partner API and webhooks alone.

Number, operator, amount, pay out of its own pocket money, wait for success. It is what a partner would write, with
`refill-client` underneath: a top-up is named by the platform's own order, so that asking twice is one; silence leaves an order
waiting, never failed; what happened is heard by webhook, and asked for where none comes. Truth: `GET /truth`.
"""

import html
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from random import Random
from string import Template
from typing import TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from refill_client import NotSigned, Refused, TopUp, Unknown, Wish, plans, verify
from refill_client.plans import Patience, Plan

from refill.simulators.trouble import Keep, Post, Schedule, Sleep, Surroundings, truth
from refill.world import NoAnswer, NotSent, Request, Response

NAME = "platform"
PORT = 14
POCKET = Decimal("2000.00")
TRIES = 3  # of a request while somebody waits for the page
LOOKS_S = (2.0, 5.0, 15.0, 60.0, 300.0)  # after so long it asks by itself; the last again and again
T = TypeVar("T")


def leads(keep: Keep, url: str) -> dict[str, object]:
    """No setting leads here: the platform comes to us, with a partner's key."""
    return {}


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "Platform":
    """The demonstration's partner, as soon as there is one."""

    def key() -> str:
        return keep("demo-partner.key", _nobody_yet)

    return Platform(
        url,
        product_url,
        key,
        now=around["now"],
        dice=around["dice"],
        schedule=around["schedule"],
        post=around["post"],
        sleep=around["sleep"],
    )


class NotConnected(Exception):
    """The platform has no key of Refill's yet."""


def _nobody_yet() -> str:
    raise NotConnected("no partner's key yet")


@dataclass
class Sale:
    """One order of the platform: `state` is waiting, succeeded, failed or partial; `back` is what went back to the pocket."""

    id: str
    msisdn: str
    operator: str
    face: Decimal
    price: Decimal
    currency: str
    at: datetime
    state: str = "unpaid"
    refill: str = ""  # the top-up's id there
    why: str = ""
    back: Decimal = Decimal(0)
    looks: int = 0


class Platform:
    """The super-app, for one person with some pocket money. All of it is in memory."""

    def __init__(
        self,
        url: str,
        refill: str,
        key: Callable[[], str],
        *,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
    ) -> None:
        self._url, self._refill, self._key = url, refill.rstrip("/"), key
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.pocket = POCKET
        self.sales: dict[str, Sale] = {}
        self.heard = 0
        self._secret = ""

    async def handle(self, request: Request) -> Response:
        """One request of the person who shops here, or of Refill, which tells what happened."""
        url = urlsplit(request.url)
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        said = {name: values[-1] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
        words = _WORDS["en" if asked.get("lang", said.get("lang")) == "en" else "zh"]
        parts = url.path.strip("/").split("/")
        try:
            match request.method, parts:
                case "GET", [""]:
                    return self._home(words)
                case "GET", ["recharge"]:
                    return await self._recharge(words, asked.get("number", ""))
                case "POST", ["orders"]:
                    return await self._order(words, said)
                case "POST", ["orders", id_, "pay"] if id_ in self.sales:
                    return await self._pay(words, self.sales[id_])
                case "GET", ["orders", id_] if id_ in self.sales:
                    return self._state(words, self.sales[id_])
                case "POST", ["hook"]:
                    return self._hear(request)
                case "GET", ["truth"]:
                    return truth(
                        sales=[asdict(sale) for sale in self.sales.values()], pocket=[self.pocket], heard=[self.heard]
                    )
        except NotConnected:
            return _page(words, words.not_yet_title, f"<p>{words.not_yet}</p>", status=503)
        except Refused as no:
            return _page(
                words, words.refused, f'<p role="alert">{html.escape(no.detail)}</p>{_back(words)}', status=422
            )
        except Unknown:
            return _page(words, words.busy, f'<p role="alert">{words.try_again}</p>{_back(words)}', status=503)
        return _page(words, words.nothing, _back(words), status=404)

    # -------------------------------------------------------------- talking to Refill

    async def _ask(self, plan: Plan[T]) -> T:
        """Carries a plan of the client out over this far end's own network."""
        key, patience = self._key(), Patience(plan, TRIES)
        query = "?" + "&".join(f"{n}={quote(v, safe='')}" for n, v in plan.query.items()) if plan.query else ""
        while True:
            try:
                answer = await self._post(
                    Request(plan.method, f"{self._refill}{plan.path}{query}", plan.headers(key), plan.body or b"")
                )
            except (NotSent, NoAnswer) as lost:
                pause: float | None = patience.silence(type(lost).__name__)
            else:
                pause = patience.answer(answer.status, answer.headers, answer.body)
                if pause is None:
                    return plan.read(answer.body)
            await self._sleep(pause or 0)

    async def _listen(self) -> None:
        """Tells Refill where to tell us; without it we ask, only later."""
        if self._secret:
            return
        body = msgspec.json.encode({"url": f"{self._url}/hook", "description": "the super-app"})
        plan: Plan[dict[str, str]] = Plan("POST", "/v1/webhooks", msgspec.json.decode, body=body, name="our endpoint")
        try:
            self._secret = (await self._ask(plan))["secret"]
        except (Refused, Unknown):
            self._secret = ""

    def _hear(self, request: Request) -> Response:
        try:
            event = verify(self._secret, request.headers, request.body, now=self._now().timestamp())
        except NotSigned as no:
            return Response(401, {"content-type": "text/plain"}, str(no).encode())
        self.heard += 1
        sale = self.sales.get(str(event.data.get("reference", "")))
        if sale is not None and event.type.startswith("topup."):
            self._learn(sale, msgspec.convert(event.data, TopUp, strict=False))
        return Response(204, {}, b"")

    async def _look(self, sale: Sale) -> None:
        """Sends the top-up, or asks how it stands: under the order's name both are the same."""
        if sale.state != "waiting":
            return
        try:
            if sale.refill:
                self._learn(sale, await self._ask(plans.get(sale.refill)))
            else:
                wish = Wish(msisdn=sale.msisdn, amount=sale.face, currency=sale.currency, reference=sale.id)
                self._learn(sale, await self._ask(plans.topup(wish, None)))
        except Refused as no:
            if not sale.refill and not no.retryable:
                self._end(sale, "failed", no.detail, sale.price)
        except (Unknown, NotConnected):
            pass  # nobody answered: it may have been carried out, so the order waits
        if sale.state == "waiting":
            wait = LOOKS_S[min(sale.looks, len(LOOKS_S) - 1)]
            sale.looks += 1
            self._schedule(wait, lambda: self._look(sale))

    def _learn(self, sale: Sale, topup: TopUp) -> None:
        sale.refill = topup.id
        if sale.state != "waiting" or not topup.final:
            return
        match topup.status:
            case "succeeded":
                self._end(sale, "succeeded", "", Decimal(0))
            case "partial":
                missing = topup.face_value - (topup.delivered_value or Decimal(0))
                self._end(
                    sale, "partial", topup.reason, (sale.price * missing / topup.face_value).quantize(Decimal("0.01"))
                )
            case _:
                self._end(sale, "failed", topup.reason, sale.price)

    def _end(self, sale: Sale, state: str, why: str, back: Decimal) -> None:
        sale.state, sale.why, sale.back = state, why, back
        self.pocket += back

    # -------------------------------------------------------------- pages

    def _home(self, words: "Words") -> Response:
        tiles = "".join(f'<li><span aria-hidden="true">{icon}</span>{name}</li>' for icon, name in words.services)
        first = f'<a class="tile" href="/recharge{words.query}"><span aria-hidden="true">📱</span>{words.recharge}</a>'
        latest = list(self.sales.values())[-5:][::-1]
        rows = "".join(
            f'<li><a href="/orders/{sale.id}{words.query}">{words.recharge} {_grouped(sale.msisdn)}</a>'
            f"<b>{words.states[sale.state]}</b></li>"
            for sale in latest
        )
        bills = f'<h2>{words.bills}</h2><ul class="rows">{rows}</ul>' if rows else ""
        content = (
            f'<p class="pocket">{words.pocket} <b>¥{self.pocket}</b></p>{first}<ul class="tiles">{tiles}</ul>{bills}'
        )
        return _page(words, words.life, content)

    async def _recharge(self, words: "Words", typed: str) -> Response:
        form = (
            f'<form method="get" action="/recharge"><label for="number">{words.number}</label>'
            f'<input id="number" name="number" type="tel" inputmode="tel" autocomplete="tel" required '
            f'value="{html.escape(typed)}">{words.hidden}<button>{words.go_on}</button></form>'
        )
        if not typed:
            return _page(words, words.recharge, form + _back(words))
        msisdn = "+86" + typed.replace(" ", "") if not typed.startswith("+") else typed
        number = await self._ask(plans.number(msisdn))
        operators = {operator.id: operator for operator in await self._ask(plans.operators())}
        operator = operators.get(number.operator or "")
        if operator is None:
            return _page(
                words, words.recharge, form + f'<p role="alert">{words.not_sold}</p>' + _back(words), status=422
            )
        name = operator.name if words is _WORDS["en"] else operator.name_zh
        tiles = "".join(
            f'<form method="post" action="/orders"><input type="hidden" name="number" value="{html.escape(number.msisdn)}">'
            f'<input type="hidden" name="product" value="{html.escape(offer.product)}">{words.hidden}'
            f'<button class="amount"><b>{offer.face_value:f}</b><span>{words.price} ¥{offer.face_value:f}</span></button></form>'
            for offer in operator.products
            if offer.kind == "fixed"
        )
        warnings = "".join(
            f'<p class="warn">{html.escape(words.warnings.get(one.code, one.detail))}</p>' for one in number.warnings
        )
        told = f"<p><b>{html.escape(number.grouped)}</b> · {html.escape(name)} {html.escape(number.region)}</p>"
        return _page(words, words.recharge, f'{told}{warnings}<div class="amounts">{tiles}</div>{_back(words)}')

    async def _order(self, words: "Words", said: Mapping[str, str]) -> Response:
        for operator in await self._ask(plans.operators()):
            for offer in operator.products:
                if offer.product == said.get("product") and offer.kind == "fixed":
                    id_ = f"sa{self._dice.getrandbits(80):020x}"
                    self.sales[id_] = Sale(
                        id_,
                        said.get("number", ""),
                        operator.id,
                        offer.face_value,
                        offer.face_value,
                        offer.currency,
                        self._now(),
                    )
                    return _to(f"/orders/{id_}{words.query}")
        return _page(words, words.nothing, _back(words), status=404)

    async def _pay(self, words: "Words", sale: Sale) -> Response:
        if sale.state == "unpaid" and sale.price <= self.pocket:
            self.pocket -= sale.price
            sale.state = "waiting"
            await self._listen()
            await self._look(sale)
        return _to(f"/orders/{sale.id}{words.query}")

    def _state(self, words: "Words", sale: Sale) -> Response:
        facts = f"<dl><div><dt>{words.number}</dt><dd>{_grouped(sale.msisdn)}</dd></div>"
        facts += f"<div><dt>{words.recharge}</dt><dd>{sale.face:f} {sale.currency}</dd></div>"
        if sale.back:
            facts += f"<div><dt>{words.back}</dt><dd>¥{sale.back:f}</dd></div>"
        facts += "</dl>"
        if sale.state == "unpaid":
            pay = f"{words.hidden}<button>{words.pay} ¥{sale.price:f}</button>"
            button = f'<form method="post" action="/orders/{sale.id}/pay">{pay}</form>'
            short = "" if sale.price <= self.pocket else f'<p role="alert">{words.too_little}</p>'
            return _page(words, words.cashier, facts + (short or button) + _back(words))
        says = f'<p role="status">{words.says[sale.state]}</p>'
        return _page(words, words.states[sale.state], says + facts + _back(words), mark=sale.state)


# ------------------------------------------------------------------ words and forms


@dataclass(frozen=True)
class Words:
    """What the super-app says in one language."""

    lang: str
    life: str
    recharge: str
    services: tuple[tuple[str, str], ...]
    pocket: str
    bills: str
    number: str
    go_on: str
    price: str
    cashier: str
    pay: str
    back: str
    home: str
    other: str
    not_sold: str
    nothing: str
    refused: str
    busy: str
    try_again: str
    not_yet_title: str
    not_yet: str
    too_little: str
    states: Mapping[str, str]
    says: Mapping[str, str]
    warnings: Mapping[str, str]  # by their code; what has no words of ours is told as Refill tells it

    @property
    def query(self) -> str:
        """What keeps the language from page to page."""
        return "?lang=en" if self.lang == "en" else ""

    @property
    def hidden(self) -> str:
        """The same in a form."""
        return '<input type="hidden" name="lang" value="en">' if self.lang == "en" else ""


_WORDS = {
    "zh": Words(
        lang="zh-Hans",
        life="生活服务",
        recharge="手机充值",
        services=(("💡", "生活缴费"), ("🚇", "出行"), ("🎬", "电影"), ("🏥", "医疗健康"), ("🎁", "优惠券")),
        pocket="零钱",
        bills="我的账单",
        number="手机号码",
        go_on="下一步",
        price="售价",
        cashier="确认付款",
        pay="付款",
        back="已退回零钱",
        home="返回首页",
        other='<a href="?lang=en" hreflang="en" lang="en">English</a>',
        not_sold="暂不支持这个号码的运营商。",
        nothing="这里什么也没有",
        refused="没有成功",
        busy="暂时没有回应",
        try_again="请稍后再试，您没有被扣款。",
        not_yet_title="还没有接入",
        not_yet="充值服务正在准备，请过几秒钟刷新页面。",
        too_little="零钱不够支付这一笔。",
        states={
            "unpaid": "待付款",
            "waiting": "充值中",
            "succeeded": "充值成功",
            "failed": "充值失败",
            "partial": "部分到账",
        },
        says={
            "waiting": "正在为您充值，到账后这里会自动更新，可以放心离开。",
            "succeeded": "话费已经到账。",
            "failed": "没有充上，钱已退回零钱。",
            "partial": "只到账了一部分，其余的钱已退回零钱。",
        },
        warnings={
            "dead": "这个号码可能是空号，请核对。",
            "operator_unsure": "运营商可能不准：号码可以携号转网。",
            "first_time": "您第一次给这个号码充值，请逐位核对。",
            "one_digit_off": "它与您充过的号码只差一位，请核对。",
            "new_subscriber": "这个号码可能已经换了机主。",
            "long_unused": "您很久没有给这个号码充值了。",
            "other_operator": "这个号码可能已经转到别的运营商。",
        },
    ),
    "en": Words(
        lang="en",
        life="Everyday services",
        recharge="Mobile recharge",
        services=(("💡", "Bills"), ("🚇", "Travel"), ("🎬", "Films"), ("🏥", "Health"), ("🎁", "Coupons")),
        pocket="Pocket money",
        bills="My orders",
        number="Mobile number",
        go_on="Next",
        price="for",
        cashier="Confirm and pay",
        pay="Pay",
        back="Back in your pocket",
        home="Home",
        other='<a href="?" hreflang="zh" lang="zh-Hans">中文</a>',
        not_sold="The operator of this number is not on sale here yet.",
        nothing="There is nothing here",
        refused="That did not work",
        busy="No answer at the moment",
        try_again="Please try again in a while. Nothing was taken from you.",
        not_yet_title="Not connected yet",
        not_yet="Recharge is being made ready; reload this page in a few seconds.",
        too_little="Your pocket money does not cover this.",
        states={
            "unpaid": "to be paid",
            "waiting": "On its way",
            "succeeded": "Recharged",
            "failed": "Not recharged",
            "partial": "Recharged in part",
        },
        says={
            "waiting": "We are topping you up. This page updates by itself, and you may leave it.",
            "succeeded": "The credit has arrived.",
            "failed": "It could not be recharged; your money is back in your pocket.",
            "partial": "Only a part arrived; the rest of your money is back in your pocket.",
        },
        warnings={},
    ),
}


def _grouped(msisdn: str) -> str:
    """As its owner reads it; others' numbers are not shown here, for there is one person only."""
    digits = msisdn.removeprefix("+86")
    return html.escape(f"{digits[:3]} {digits[3:7]} {digits[7:]}" if len(digits) == 11 else msisdn)


def _back(words: Words) -> str:
    return f'<p><a class="quiet" href="/{words.query}">{words.home}</a></p>'


def _to(path: str) -> Response:
    return Response(303, {"location": path}, b"")


def _page(words: Words, title: str, content: str, *, status: int = 200, mark: str = "") -> Response:
    page = Template(files("refill.simulators").joinpath("pages/platform.html").read_text(encoding="utf-8"))
    # While a top-up is on its way the page looks again by itself, and says so to nobody who does not ask (WCAG 2.2.1).
    again = '<meta http-equiv="refresh" content="2">' if mark == "waiting" else ""
    text = page.substitute(lang=words.lang, title=title, content=content, other=words.other, mark=mark, again=again)
    return Response(status, {"content-type": "text/html; charset=utf-8"}, text.encode())
