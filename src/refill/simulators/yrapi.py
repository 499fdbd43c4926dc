"""A wholesale platform's end of the wire `yrapi`: orders that are taken first and carried out behind, and MD5 notices.

Served by `refill simulator yrapi`; the seeded simulator calls `handle` directly in virtual time. What is the same behind
every operator stands in `network`; the wire is that of `operators/yrapi.py`, whose docstring names the sources, and
nothing of it is imported here. Under `/yrapi.php/index/`: `recharge`, `check`, `user`, `product`.

The last four digits of a number decide what happens (`WHAT_HAPPENS`). Beside them, by plan or chance: `inquiry_lost`,
`inquiry_html`, `lose_notice`, `double_notice`, `late_notice`, `forge_notice`.
"""

import json
import os
from collections import Counter
from hashlib import md5
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.network import Job, Network, page_instead
from refill.simulators.trouble import Keep, Surroundings
from refill.world import NoAnswer, Request, Response

WHAT_HAPPENS = {
    "slow": "delivered, answered after 10 s",
    "lost": "delivered, but the answer is lost",
    "refused": "not taken: 该号码无法充值",
    "hidden": "the answer is lost, an inquiry lists nothing, and a minute later it is delivered",
    "duplicate": "delivered, but answered as if they had our order already",
    "odd_code": "delivered, but answered with words that nobody documented",
    "partial": "half of the amount is delivered: state 3",
    "html": "delivered, but answered 200 with an HTML page",
    "truncated": "delivered, but the answer breaks off",
    "wrong_amount": "delivered, but the first inquiry names another amount",
    "wrong_number": "delivered, but the first inquiry names another number",
    "not_ours": "taken, then failed: state 2",
    "empty_float": "taken, then cancelled, because the float cannot pay: state -1",
    "later": "taken, delivered after 8 s",
    "fails_later": "taken, failed after 8 s",
    "contradicts": "delivered, then a signed notice says failed",
    "unsigned": "delivered, but its notice is not signed",
    "huge": "delivered, but the answer is 2 MiB long",
    "busy": "not taken for now: 当前号码已经存在订单",
    "reversed": "delivered, and called failed after 20 s",
    "silent": "taken, and in progress for ever",
    "error_500": "delivered, but answered with status 500 and no body",
}
_FAILED, _CANCELLED = "2", "-1"
_REFUSES = {"refused": "该号码无法充值", "busy": "当前号码已经存在订单", "not_ours": _FAILED, "empty_float": _CANCELLED}
_NOT_TAKEN = {"refused", "busy"}  # refused before an order exists: they list nothing
_STATES = {"processing": "0", "delivered": "1", "partial": "3", "reversed": _FAILED}

NAME = "yrapi"
PORT = 6
_SUPPLIER, _USERID = "dayuan", "10001"  # the platform and the client that `refill up` plays with
_ISP = {"1": "cmcc", "2": "ctcc", "3": "cunicom"}  # their operators, as our catalogue calls them
_FACES = (10, 20, 30, 50, 100, 200, 300, 500)


class Product(NamedTuple):
    """One face value of one operator, as the platform sells it."""

    id: str
    isp: str
    yuan: int


PRODUCTS = {f"{isp}{yuan:03}": Product(f"{isp}{yuan:03}", isp, yuan) for isp in _ISP for yuan in _FACES}


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this platform."""
    sells = " ".join(f"{_ISP[one.isp]}-{one.yuan}/{one.yuan}={one.id}" for one in PRODUCTS.values())
    return {
        "yrapi_suppliers": _SUPPLIER,
        f"yrapi_{_SUPPLIER}_url": f"{url}/yrapi.php",
        f"yrapi_{_SUPPLIER}_userid": _USERID,
        f"yrapi_{_SUPPLIER}_apikey": _kept_key(keep),
        f"yrapi_{_SUPPLIER}_products": sells,
        f"yrapi_{_SUPPLIER}_notices_from": "127.0.0.1 ::1",
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "YrapiSimulator":
    """The platform with the one client that `leads` speaks of; notices go to Refill's own callback."""
    return YrapiSimulator(
        apikey=_kept_key(keep),
        base_url=f"{url}/yrapi.php",
        notify_url=f"{product_url}/callbacks/suppliers/{_SUPPLIER}" if product_url else "",
        delay_s=(0.5, 2.0),
        **around,
    )


def _kept_key(keep: Keep) -> str:
    return keep(f"{_SUPPLIER}.apikey", lambda: os.urandom(16).hex())


class YrapiSimulator(Network):
    """One platform with one client. With `dedups` off, the same order sent twice is two orders under one number."""

    WHAT_HAPPENS = WHAT_HAPPENS
    REFUSES = _REFUSES

    def __init__(self, *, apikey: str, userid: str = _USERID, name: str = _SUPPLIER, **network: Any) -> None:
        super().__init__(name=name, **network)
        self._apikey, self._userid = apikey, userid
        self._orders: Counter[str] = Counter()  # how many there are under each number of the client's
        self._product: dict[str, str] = {}
        self._lied: set[str] = set()

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        if own := self.page_or_truth(request):
            return own
        path = urlsplit(request.url).path.removeprefix(self.base_path)
        if request.method != "POST" or not path.startswith("/index/"):
            return Response(404, {"content-type": "text/plain"}, b"")
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        if form.pop("sign", "") != self._sign(form) or form.get("userid") != self._userid:
            return _says(1, "签名错误")
        match path.removeprefix("/index/"):
            case "recharge":
                return await self._recharge(form)
            case "check":
                return self._check(form.get("out_trade_nums", ""))
            case "user":
                left = decimal_text(self.float_minor, self.currency)
                return _says(0, "ok", {"id": int(self._userid), "username": "refill", "balance": left})
            case "product":
                return _says(0, "ok", self._products())
        return _says(1, "API接口不存在")

    async def _recharge(self, form: dict[str, str]) -> Response:
        request_id, mobile = form.get("out_trade_num", ""), form.get("mobile", "")
        job = self.jobs.get(request_id)
        if job is not None and job.trouble in _NOT_TAKEN:
            return _says(1, _REFUSES[job.trouble])
        if job is not None and self.dedups:
            # Their words, and then the two numbers, as some platforms have it.
            return _says(1, f"已经存在相同商户订单号的订单    {request_id}    {self._userid}")
        product = PRODUCTS.get(form.get("product_id", ""))
        if product is None:
            return _says(1, "未找到相关产品(产品ID不正确或已下架)")
        if len(mobile) != 11 or not mobile.isdigit() or not request_id:
            return _says(1, "手机号格式不正确")
        if form.get("amount") and _minor(form["amount"]) != product.yuan * 100:
            return _says(1, "面值检测不相同，提单不通过！")
        if form.get("price") and _minor(form["price"]) < self.cost(product.yuan * 100):
            return _says(1, "成本限制，提单不通过！")
        self._orders[request_id] += 1
        if job is None:
            self._product[request_id] = product.id
            job = self.take(request_id, mobile, product.yuan * 100)
        else:
            self.credit(job, job.face_minor)
        if self.hidden(job):
            raise NoAnswer("the answer was lost")
        return await self._troubled(job)

    async def _troubled(self, job: Job) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        response = _says(0, "提交成功", self._told(job) | {"total_price": self._yuan(self.cost(job.face_minor))})
        match job.trouble:
            case "refused" | "busy":
                return _says(1, _REFUSES[job.trouble])
            case "slow":
                await self._sleep(10)
            case "lost":
                raise NoAnswer("the answer was lost")
            case "duplicate":
                return _says(208, "已经存在相同商户订单号的订单", job.reference)
            case "odd_code":
                return _says(1, "系统繁忙，请稍后再试")
            case "html":
                return page_instead()
            case "huge":
                return _says(0, "提交成功", self._told(job) | {"padding": "x" * (2 << 20)})
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
            case "truncated":
                return Response(200, response.headers, response.body[: len(response.body) // 2])
        return response

    def _check(self, request_id: str) -> Response:
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return page_instead()
        job = self.jobs.get(request_id)
        if job is None or self.hidden(job) or job.trouble in _NOT_TAKEN:
            return _says(0, "ok", [])
        order = self._told(job) | {"state": int(self._state(job)), "charge_amount": self._credited(job)}
        if job.trouble in ("wrong_amount", "wrong_number") and request_id not in self._lied:
            self._lied.add(request_id)
            if job.trouble == "wrong_amount":
                order["charge_amount"] = self._yuan(job.face_minor + 100)
            else:
                order["mobile"] = job.msisdn[:-1] + str((int(job.msisdn[-1]) + 1) % 10)
        return _says(0, "ok", [order] * self._orders[request_id])

    def announce(self, job: Job, status: str, after_s: float = 0.0) -> None:
        """A form to the client, signed as its requests are."""
        if not self.notify_url or job.trouble in _NOT_TAKEN:
            return
        state = _FAILED if status == "refused" and job.status != "refused" else self._state(job)
        fields = {
            "userid": self._userid,
            "order_number": job.reference,
            "out_trade_num": job.request_id,
            "otime": str(int(self._now().timestamp())),
            "state": state,
            "mobile": job.msisdn,
            "remark": "充值成功" if state == "1" else "",
            "charge_amount": self._credited(job),
            "voucher": "",
            "charge_kami": "",
        }
        sign = "" if job.trouble == "unsigned" else self._sign(fields)
        if self.troubles.strikes("forge_notice"):
            sign = "0" * 32
        body = urlencode(fields | {"sign": sign}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        self.notify(lambda: Request("POST", self.notify_url, headers, body), after_s)

    def _told(self, job: Job) -> dict[str, Any]:
        product = PRODUCTS[self._product[job.request_id]]
        return {
            "order_number": job.reference,
            "out_trade_num": job.request_id,
            "mobile": job.msisdn,
            "product_id": int(product.id),
            "product_name": f"{product.yuan}元",
        }

    def _state(self, job: Job) -> str:
        if job.status == "refused":
            return _CANCELLED if job.code == _CANCELLED else _FAILED
        return _STATES[job.status]

    def _credited(self, job: Job) -> str:
        return self._yuan(0 if job.status == "reversed" else min(job.credited_minor, job.face_minor))

    def _yuan(self, minor: int) -> str:
        return decimal_text(minor, self.currency)

    def _products(self) -> list[dict[str, Any]]:
        return [
            {
                "id": int(isp),
                "cate": name,
                "type": 1,
                "products": [
                    {
                        "id": int(one.id),
                        "name": f"{one.yuan}元",
                        "isp": isp,
                        "price": self._yuan(self.cost(one.yuan * 100)),
                        "y_price": self._yuan(one.yuan * 100),
                        "type": 1,
                    }
                    for one in PRODUCTS.values()
                    if one.isp == isp
                ],
            }
            for isp, name in _ISP.items()
        ]

    def _sign(self, fields: dict[str, str]) -> str:
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)) + f"&apikey={self._apikey}"
        return md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest().upper()


def _minor(yuan: str) -> int:
    try:
        return amount(yuan, "CNY").minor
    except NotAnAmount:
        return 0


def _says(errno: int, errmsg: str, data: object = "") -> Response:
    body = json.dumps({"errno": errno, "errmsg": errmsg, "data": data}, ensure_ascii=False).encode()
    return Response(200, {"content-type": "application/json; charset=utf-8"}, body)
