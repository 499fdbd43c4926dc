"""A page's worth of words for every refusal: what happened and what to do next, in both languages."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from refill.channels.machines.openapi import refusals_of
from refill.channels.machines.operation import NO_WORDS, Operation, Words
from refill.channels.machines.problem import title_of
from refill.errors import RefillError


class Advice(NamedTuple):
    """The code in Chinese (English is the class's own sentence), how one comes to it, and what to do next."""

    title_zh: str
    cause: Words
    next: Words


class Refusal(NamedTuple):
    """All that is told about one code."""

    code: str
    status: int
    retryable: bool
    title: Words
    cause: Words
    next: Words


def catalogue(operations: Sequence[Operation], *others: type[RefillError]) -> dict[str, Refusal]:
    """Every code that a caller may meet, by status and name; a test sees that none stays without advice."""
    found: dict[str, type[RefillError]] = {}
    for error in (*others, *_every(operations)):
        if error.code not in found or not issubclass(error, found[error.code]):
            found[error.code] = error
    return {error.code: _refusal(error) for error in sorted(found.values(), key=lambda e: (e.status, e.code))}


def _every(operations: Sequence[Operation]) -> Iterator[type[RefillError]]:
    for operation in operations:
        yield from refusals_of(operation)


def _refusal(error: type[RefillError]) -> Refusal:
    title_en = title_of(error)
    advice = ADVICE.get(error.code) or Advice(title_en, NO_WORDS, NO_WORDS)
    title = Words(title_en, advice.title_zh)
    return Refusal(error.code, error.status, error.retryable, title, advice.cause, advice.next)


AGAIN = Words(
    "Send the very same request again, with the same key or reference: it is the same top-up, never a second one.",
    "把同一个请求原样再发一遍（同一个键或参考号）：还是同一笔充值，绝不会充两次。",
)

ADVICE = {
    "bad_key": Advice(
        "Idempotency-Key 不合规",
        Words(
            "The header Idempotency-Key is empty, longer than 255 characters, holds a space or a letter that is no visible "
            "ASCII, or came twice with two values.",
            "请求头 Idempotency-Key 为空、超过 255 个字符、含有空格或非可见 ASCII 字符，或者出现了两次且值不同。",
        ),
        Words("Use a UUID, for instance.", "例如用一个 UUID。"),
    ),
    "bad_request": Advice(
        "请求体不是这个地址能读的 JSON",
        Words(
            "A quote or bracket is missing, a field is unknown or given twice, or a number stands where a string belongs.",
            "缺了引号或括号、有不认识的或重复的字段，或者该写字符串的地方写了数字。",
        ),
        Words(
            'Read `detail`: it names the field. Amounts and numbers are strings: "50.00", "+8613800138000".',
            '看 `detail`：里面写了是哪个字段。金额和号码都要写成字符串："50.00"、"+8613800138000"。',
        ),
    ),
    "incomplete": Advice(
        "请求没有发完",
        Words("The connection ended before the whole body was here.", "请求体还没收完，连接就断了。"),
        Words("Nothing happened. Send it again.", "什么都没有发生。请再发一次。"),
    ),
    "no_key_or_reference": Advice(
        "这笔充值没有名字",
        Words(
            "A top-up came without `reference` and without the header Idempotency-Key.",
            "充值请求既没有 `reference`，也没有请求头 Idempotency-Key。",
        ),
        Words(
            "Give it one of them, before you send it first: it is what makes a second try safe.",
            "第一次发送之前就请给它起个名字：有了名字，重试才安全。",
        ),
    ),
    "no_key": Advice(
        "没有带密钥，或密钥无效",
        Words(
            'The header Authorization is missing or not of the form "Bearer …", or the key is unknown or withdrawn.',
            '缺少请求头 Authorization、格式不是 "Bearer …"，或者密钥不存在、已被撤销。',
        ),
        Words(
            "Send `Authorization: Bearer rk_live_…`. If the key was withdrawn, ask us for another one.",
            "请发送 `Authorization: Bearer rk_live_…`。如果密钥已被撤销，请向我们要一把新的。",
        ),
    ),
    "insufficient_funds": Advice(
        "余额不足",
        Words(
            "Your float holds less than the price. Nothing was taken and nothing was sent.",
            "预付款余额低于价格。没有扣款，也没有发出充值。",
        ),
        Words(
            "Add to your float, then send the same request again; `GET /v1/balance` shows what is left.",
            "请先加款，再把同一个请求发一遍；余额见 `GET /v1/balance`。",
        ),
    ),
    "not_allowed": Advice(
        "没有这个权限",
        Words("The key has not the scope that `detail` names.", "这把密钥没有 `detail` 里写的权限。"),
        Words("Use another key of yours, or ask us for the scope.", "请换一把密钥，或者向我们申请这个权限。"),
    ),
    "no_such_address": Advice(
        "没有这个地址",
        Words("The path is misspelt, or ends with a slash.", "路径写错了，或者末尾多了斜杠。"),
        Words("Compare it with the list on the developers' page.", "请对照开发者页面上的列表。"),
    ),
    "not_found": Advice(
        "没有找到",
        Words(
            "There is no such thing, or it is not yours: we make no difference between the two.",
            "没有这个东西，或者它不属于你：这两种情况我们回答得一样。",
        ),
        Words(
            "Compare the id. A request that was refused left nothing behind that could be found.",
            "请核对编号。被拒绝的请求不会留下任何可查的记录。",
        ),
    ),
    "wrong_method": Advice(
        "这个地址不接受这种方法",
        Words(
            "The address exists, but answers to other methods; the header Allow names them.",
            "地址存在，但要用别的方法；请求头 Allow 里列出了。",
        ),
        Words("Compare the method with the list on the developers' page.", "请对照开发者页面上的方法。"),
    ),
    "key_reused": Advice(
        "这个键或参考号已用于另一个请求",
        Words(
            "The same Idempotency-Key or reference came before, with another content.",
            "同一个 Idempotency-Key 或参考号以前发过，但内容不同。",
        ),
        Words(
            "If it is the same wish, send it as it was. If it is a new one, give it a new name.",
            "如果是同一件事，请按原样发送；如果是新的事，请起新的名字。",
        ),
    ),
    "number_not_served": Advice(
        "这个号码暂不能充值",
        Words(
            "We do not top this number up for you at present. Nothing was taken.",
            "我们目前不给这个号码充值。没有扣款。",
        ),
        Words(
            "Sending it again changes nothing. Ask our support, with the number and the time.",
            "重发没有用。请联系客服，并告知号码和时间。",
        ),
    ),
    "limit_reached": Advice(
        "已达到限额",
        Words(
            "As many top-ups, or as much, as is allowed for this number, or for you, in an hour, a day, a week or a month. "
            "Nothing was taken.",
            "这个号码或你的账户在一小时、一天、一周或一个月内的充值次数或金额已达上限。没有扣款。",
        ),
        Words(
            "`detail` says when it is possible again; then send the very same request.",
            "`detail` 里写了什么时候可以再充；到时把同一个请求再发一遍。",
        ),
    ),
    "rate_too_old": Advice(
        "汇率已过期",
        Words(
            "Who delivers this bills in another currency, and today's exchange rate is not known here yet. Nothing was taken.",
            "供货方以另一种货币结算，而我们这里还没有今天的汇率。没有扣款。",
        ),
        Words("Send the very same request again a little later.", "请稍后把同一个请求再发一遍。"),
    ),
    "quote_over": Advice(
        "报价已失效",
        Words(
            "The quote expired, or a top-up was placed with it before. Nothing was taken.",
            "报价过期了，或者已经用它充过一次。没有扣款。",
        ),
        Words("Ask for a new one with `POST /v1/quotes`.", "请用 `POST /v1/quotes` 重新询价。"),
    ),
    "quote_misfit": Advice(
        "报价与这笔充值不符",
        Words(
            "The quote is for another number, operator, product or amount. Nothing was taken.",
            "报价针对的是另一个号码、运营商、商品或金额。没有扣款。",
        ),
        Words(
            "`detail` says which. Ask for a quote of this top-up, or leave `quote` out.",
            "`detail` 里写了是哪一项。请为这笔充值重新询价，或者不写 `quote`。",
        ),
    ),
    "price_too_high": Advice(
        "价格高于你的上限",
        Words("Our price is above `max_price`. Nothing was taken.", "我们的价格高于 `max_price`。没有扣款。"),
        Words(
            "Look at `GET /v1/products`, and raise `max_price` if the price suits you.",
            "请看 `GET /v1/products`；如果能接受，就提高 `max_price`。",
        ),
    ),
    "too_large": Advice(
        "请求太大",
        Words("The body is larger than this address reads.", "请求体超过了这个地址的上限。"),
        Words("Send fewer rows at a time, or a CSV file.", "每次少发几行，或者改用 CSV 文件。"),
    ),
    "unsupported_media_type": Advice(
        "请求体的格式不对",
        Words(
            "The header Content-Type names another form than this address reads, another alphabet than UTF-8, or the body "
            "is compressed.",
            "Content-Type 不是这个地址能读的格式、不是 UTF-8，或者请求体被压缩了。",
        ),
        Words("Send it plain, with the header that `detail` names.", "请不要压缩，并按 `detail` 写明 Content-Type。"),
    ),
    "bad_input": Advice(
        "输入读不懂",
        Words("A value has another form than it should.", "有一个值的写法不对。"),
        Words("Read `detail`: it says which one and how it is written.", "看 `detail`：里面写了是哪个值、该怎么写。"),
    ),
    "card_number": Advice(
        "看起来像银行卡号",
        Words(
            "A name of yours looks like the number of a payment card. We keep none, not even by mistake.",
            "你起的名字看起来像银行卡号。我们不保存任何卡号，误填的也不存。",
        ),
        Words(
            "If it is none, put a letter before it. If it is one, never send it.",
            "如果不是卡号，请在前面加个字母；如果是，请不要发送。",
        ),
    ),
    "not_a_number": Advice(
        "不是手机号码",
        Words("The number does not exist, or is not written in plain digits.", "号码不存在，或者不是用普通数字写的。"),
        Words(
            "Write it with its country code, such as +8613800138000; in an address write the plus sign as %2B.",
            "请带上国家码，例如 +8613800138000；写在网址里时，加号要写成 %2B。",
        ),
    ),
    "not_an_amount": Advice(
        "不是金额",
        Words(
            "The amount is no plain decimal string, has too many decimals, or the currency is unknown.",
            "金额不是普通的十进制字符串、小数位太多，或者货币代码不存在。",
        ),
        Words('Write "50.00" and "CNY".', '请写成 "50.00" 和 "CNY"。'),
    ),
    "not_for_sale": Advice(
        "不在售",
        Words(
            "No operator, product or price on sale fits, or the number is not served on that network.",
            "没有符合的运营商、商品或价格，或者这个号码不在那个网络上。",
        ),
        Words(
            "`detail` names what is on sale; `GET /v1/products` lists it all.",
            "`detail` 写了有哪些在售；完整清单见 `GET /v1/products`。",
        ),
    ),
    "rate_limited": Advice(
        "请求太频繁",
        Words("The key sends more top-ups a second than it was given.", "这把密钥每秒发送的充值超过了限额。"),
        Words(
            "Wait as many seconds as Retry-After says; RateLimit-Remaining shows what is left.",
            "请等待 Retry-After 所写的秒数；剩余额度见 RateLimit-Remaining。",
        ),
    ),
    "bad_file": Advice(
        "整个文件无法读取",
        Words(
            "It is not UTF-8, its first line does not name the columns, a quote is left open, or it has no rows. No row of "
            "it was taken.",
            "文件不是 UTF-8、第一行没有写对列名、有引号没有配对，或者没有数据行。文件里的任何一行都没有被处理。",
        ),
        Words(
            "Read `detail`: it names the line. Put the file right and send it whole.",
            "看 `detail`：里面写了是哪一行。改好以后，请把整个文件再发一遍。",
        ),
    ),
    "too_late": Advice(
        "来不及撤销了",
        Words("The top-up has left to its operator, or is delivered.", "充值已经发给运营商，或者已经到账。"),
        Words(
            "Look at it: if it fails, the price comes back by itself. What is delivered may be reversed on our own network.",
            "请查询它的状态：如果失败，钱会自动退回；本网已到账的充值可以申请冲正。",
        ),
    ),
    "not_reversible": Advice(
        "不能冲正",
        Words(
            "The operator takes nothing back, or not any more, or the top-up is in no state for it; `detail` says which.",
            "运营商不支持冲正、已过时限，或者这笔充值现在不能冲正；`detail` 里写了是哪一种。",
        ),
        Words("Nothing was changed. Settle it with your customer.", "没有任何改动。请与你的客户协商解决。"),
    ),
    "illegal_transition": Advice(
        "此刻不能这样做",
        Words("The thing is in a state that does not allow this step.", "它现在的状态不允许这一步。"),
        Words("Look at it as it stands now, and read `detail`.", "请先查询它现在的状态，并看 `detail`。"),
    ),
    "not_a_pin": Advice(
        "不是充值卡密码",
        Words("The PIN has too few or too many characters.", "密码的位数不对。"),
        Words("Have it typed again as it stands on the card.", "请用户照着卡面再输入一次。"),
    ),
    "wrong_pin": Advice(
        "密码不对",
        Words("No card has this PIN. Wrong PINs are counted.", "没有这个密码的卡。输错会被计数。"),
        Words("Have it compared with the card, digit by digit.", "请用户逐位核对卡面。"),
    ),
    "voucher_used": Advice(
        "卡已经用过",
        Words("The card was used for another number.", "这张卡已经给别的号码充过。"),
        Words("It cannot be used again; another card is needed.", "不能再用了，请换一张卡。"),
    ),
    "voucher_not_valid": Advice(
        "卡不能用",
        Words("The card was not sold yet, was withdrawn, or its time is over.", "卡还没有售出、已被作废，或者已过期。"),
        Words("`detail` says which. The shop that sold it can help.", "原因见 `detail`。请联系售卡的商店。"),
    ),
    "too_many_tries": Advice(
        "输错次数太多",
        Words(
            "Too many wrong PINs came from this person, or from all of yours.",
            "这个人（或你的全部用户）输错的次数太多。",
        ),
        Words("Wait as many seconds as Retry-After says.", "请等待 Retry-After 所写的秒数。"),
    ),
    "too_many_rows": Advice(
        "排队的行数太多",
        Words("Files of yours with very many rows are still being worked off.", "你之前上传的文件还有很多行没处理完。"),
        Words(
            "Wait until some of them are done, then send the file again; nothing of it was taken.",
            "等一部分处理完以后再上传；这个文件的任何一行都没有被处理。",
        ),
    ),
    "not_ready": Advice(
        "结果还没有全部出来",
        Words("Rows of the file are still being worked off.", "文件里还有行正在处理。"),
        Words(
            "Ask `GET /v1/topups/csv/{id}` until its `status` is `done`.",
            "请查询 `GET /v1/topups/csv/{id}`，直到 `status` 变成 `done`。",
        ),
    ),
    "url_not_allowed": Advice(
        "这个地址不能用来接收推送",
        Words(
            "It is not https, names a private network, holds a name or password, or cannot be read.",
            "地址不是 https、指向内部网络、带有用户名或密码，或者无法读取。",
        ),
        Words(
            "Use an https address that everybody can reach; `detail` says what is wrong with this one.",
            "请使用公网可访问的 https 地址；`detail` 写明了这个地址哪里不对。",
        ),
    ),
    "too_many_endpoints": Advice(
        "接收地址太多",
        Words("You have ten endpoints, as many as there may be.", "你已有十个接收地址，这是上限。"),
        Words("Delete one that you do not need.", "请先删除一个不再需要的。"),
    ),
    "endpoint_exists": Advice(
        "这个地址已经登记过",
        Words("You listen at this very address already.", "这个地址已经是你的接收地址。"),
        Words(
            "Change that endpoint, or ask for a new secret if you lost its own.",
            "请修改原来的那个；如果丢了密钥，可以更换新密钥。",
        ),
    ),
    "internal": Advice(
        "我们这边出错了",
        Words(
            "Something broke on our side. What became of the request is not certain.",
            "我们这边出了故障，这个请求的结果还不确定。",
        ),
        AGAIN,
    ),
    "busy": Advice(
        "太忙",
        Words("More arrives than can be booked at this moment.", "此刻来的请求比能处理的多。"),
        Words("Wait as many seconds as Retry-After says. " + AGAIN.en, "请等待 Retry-After 所写的秒数。" + AGAIN.zh),
    ),
}
