"""What every field of the partner API means, in both languages, with what its type does not tell of its form."""

from typing import Any

from refill.channels.machines.openapi import Field, Fields
from refill.channels.machines.operation import Words

AMOUNT = {"pattern": r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$", "maxLength": 20}
SIGNED = {"pattern": r"^-?[0-9]{1,18}(\.[0-9]{1,4})?$"}
CURRENCY = {"pattern": "^[A-Z]{3}$"}
MSISDN = {"pattern": r"^\+?[0-9]+([ \-][0-9]+)*$", "maxLength": 24}
WORD = {"pattern": r"^[a-z0-9][a-z0-9_.\-]{0,63}$"}
REFERENCE = {"pattern": "^[ -~]{1,128}$"}
TOP_UP_ID = {"pattern": "^tu_[0-9a-z]{24}$"}
PRINTABLE = {"pattern": "^[^\\u0000]*$"}


def _said(en: str, zh: str, **schema: Any) -> Field:
    return Field(Words(en, zh), schema)


FIELDS: Fields = {
    # what is asked
    "msisdn": _said("The number, with its country code: +8613800138000.", "号码，带国家码：+8613800138000。"),
    "TopUpAsk.msisdn": _said(
        "The number, with its country code: +8613800138000.", "号码，带国家码：+8613800138000。", **MSISDN
    ),
    "path.msisdn": _said(
        "A number; in an address write the plus sign as %2B.", "号码；写在网址里时，加号要写成 %2B。", **MSISDN
    ),
    "TopUpAsk.amount": _said(
        'What the phone shall get, as a decimal string: "50.00".', '到账金额，十进制字符串："50.00"。', **AMOUNT
    ),
    "currency": _said("ISO 4217: CNY.", "ISO 4217 货币代码：CNY。", **CURRENCY),
    "reference": _said(
        "Your own name for the top-up, unique among yours for ever.", "你自己的参考号，在你的充值里永远唯一。"
    ),
    "TopUpAsk.reference": _said(
        "Your own name for the top-up, unique among yours for ever.",
        "你自己的参考号，在你的充值里永远唯一。",
        **REFERENCE,
    ),
    "TopUpsWanted.reference": _said(
        "Only the top-up of this reference of yours; without any other filter.",
        "只查这个参考号的那一笔；不能再加别的条件。",
    ),
    "operator": _said("The operator, as GET /v1/operators names it.", "运营商，名称见 GET /v1/operators。"),
    "TopUpAsk.operator": _said(
        "The operator, when you know it better than the number tells.",
        "运营商；如果你比号码本身更清楚，就写上。",
        **WORD,
    ),
    "product": _said("The product, as GET /v1/products names it.", "商品，名称见 GET /v1/products。"),
    "TopUpAsk.product": _said("One product and no other.", "只要这一种商品。", **WORD),
    "max_price": _said("Refuse when the price is above this.", "价格高于它就拒绝。", **AMOUNT),
    "topups": _said("The top-ups.", "这些充值。"),
    # a top-up
    "id": _said("Our id.", "我们的编号。"),
    "path.id": _said("Our id of the top-up: tu_…", "充值的编号：tu_…", **TOP_UP_ID),
    "TopUp.status": _said(
        "processing, succeeded, partial, failed, cancelled or reversed.",
        "processing 处理中、succeeded 成功、partial 部分到账、failed 失败、cancelled 已取消、reversed 已冲正。",
        enum=["processing", "succeeded", "partial", "failed", "cancelled", "reversed"],
    ),
    "TopUpsWanted.status": _said("Only top-ups that stand so.", "只看这个状态的充值。"),
    "certainty": _said(
        "final: will not change; pending: under way; unknown: being asked; provisional: refunded without proof.",
        "final 不再变化；pending 进行中；unknown 正在查询；provisional 已先退款、尚无定论。",
        enum=["final", "pending", "unknown", "provisional"],
    ),
    "Problem.certainty": _said(
        "final: nothing happened; unknown: ask again with the same key to learn.",
        "final 肯定什么都没发生；unknown 用同一个键再问一次才知道。",
        enum=["final", "unknown"],
    ),
    "face_value": _said("What the phone gets.", "到账金额。", **AMOUNT),
    "price": _said("What it costs you.", "你付的价格。", **AMOUNT),
    "delivered_value": _said("The part that is on the phone.", "已到账的部分。"),
    "refunded": _said("What is back in your float.", "已退回预付款的金额。"),
    "reason": _said("Why it failed, in words for people.", "失败的原因，写给人看的。"),
    "created_at": _said("When it was placed, UTC.", "下单时间，UTC。"),
    "valid_until": _said("How long service lasts after it, on our own network.", "充值后服务到哪一天（本网）。"),
    "TopUpsWanted.created_from": _said("Placed then or later.", "下单时间不早于此。"),
    "TopUpsWanted.created_until": _said("Placed before.", "下单时间早于此。"),
    # lists
    "cursor": _said("`next` of the page before.", "上一页的 `next`。"),
    "limit": _said("How many rows a page has at most.", "一页最多几行。"),
    "next": _said("The cursor of the page behind this one; null on the last.", "下一页的游标；最后一页是 null。"),
    "accepted": _said("Rows that became top-ups.", "成功下单的行数。"),
    "refused": _said("Rows that were refused.", "被拒绝的行数。"),
    "results": _said("One result per row, in order.", "每行一个结果，顺序不变。"),
    "Row.status": _said("The HTTP status that the row would have had alone.", "这一行单独发送时会得到的 HTTP 状态码。"),
    "replayed": _said("It was placed before.", "以前已经下过单。"),
    "topup": _said("The top-up.", "这笔充值。"),
    "Transaction.topup": _said("The top-up that it belongs to.", "所属的充值。"),
    "TransactionsWanted.topup": _said("Only what this top-up moved.", "只看这笔充值引起的进出。"),
    "problem": _said("Why it was refused.", "被拒绝的原因。"),
    # problems
    "type": _said("The address of a page here about this code.", "本站介绍这个代码的网页地址。"),
    "title": _said("The code in a sentence.", "代码的一句话说明。"),
    "Problem.status": _said("The HTTP status.", "HTTP 状态码。"),
    "detail": _said("What happened here, in words for people.", "这次发生了什么，写给人看的。"),
    "code": _said("Decide by this.", "程序请按它判断。"),
    "retryable": _said("May the very same request succeed later?", "同一个请求以后再发有可能成功吗？"),
    # the float
    "balance": _said("What is free to spend.", "可用余额。", **SIGNED),
    "transactions": _said("The moves, the latest first.", "明细，最近的在前。"),
    "at": _said("When, UTC.", "时间，UTC。"),
    "Transaction.kind": _said(
        "topup: paid for one; refund: it failed or was only a part; reversal: it was taken back; deposit; adjustment.",
        "topup 为充值付款；refund 失败或部分退回；reversal 冲正；deposit 加款；adjustment 调账。",
    ),
    "TransactionsWanted.kind": _said("Only moves of this kind.", "只看这一类。"),
    "Transaction.amount": _said("Into the float; out of it with a minus.", "进账为正，出账带负号。", **SIGNED),
    "TransactionsWanted.from": _said("Moved then or later.", "发生时间不早于此。"),
    "TransactionsWanted.until": _said("Moved before.", "发生时间早于此。"),
    "StatementWanted.from": _said("The first day; left out: the last one.", "第一天；不写就是最后一天。"),
    "StatementWanted.until": _said("The last day; left out: today.", "最后一天；不写就是今天。"),
    "time_zone": _said("Whose midnight divides the days: an IANA name.", "按哪个时区的零点分日：IANA 时区名。"),
    "format": _said("json or csv.", "json 或 csv。"),
    "days": _said("The days, the earliest first.", "各日，最早的在前。"),
    "day": _said("The day.", "日期。"),
    "opening": _said("The float as the day began.", "期初余额。", **SIGNED),
    "StatementDay.topups": _said("Paid for top-ups.", "充值付款合计。", **SIGNED),
    "topup_count": _said("How many top-ups were paid for.", "充值付款笔数。"),
    "refunds": _said("Back from top-ups that failed.", "失败退回合计。", **SIGNED),
    "reversals": _said("Back from top-ups that were taken back.", "冲正退回合计。", **SIGNED),
    "deposits": _said("Added to the float.", "加款合计。", **SIGNED),
    "adjustments": _said("Put right by hand, or moved otherwise.", "调账及其他。", **SIGNED),
    "closing": _said("The float as the day ended.", "期末余额。", **SIGNED),
    "complete": _said("The day is over, and nothing will be added to it.", "这一天已经结束，不会再有变动。"),
    # what is on sale
    "operators": _said("The operators.", "各运营商。"),
    "Operator.id": _said("The operator's name in the API.", "运营商在 API 里的名称。"),
    "name": _said("Its name in English.", "英文名。"),
    "name_zh": _said("Its name in Chinese.", "中文名。"),
    "country": _said("ISO 3166: CN.", "ISO 3166 国家代码：CN。"),
    "own_network": _said("Ours: credit is there at once.", "本网：充值立即到账。"),
    "products": _said("What is on sale.", "在售商品。"),
    "kind": _said("fixed: one amount; range: any amount between two.", "fixed 固定面值；range 区间内任意金额。"),
    "max_face_value": _said("The largest amount of a range.", "区间的最大面值。"),
    "validity_days": _said("Days of service that it adds.", "增加的服务天数。"),
    # numbers
    "grouped": _said("For people to read.", "方便人读的分组写法。"),
    "Number.operator": _said("A hint; numbers are ported.", "只是提示；号码可以携号转网。"),
    "region": _said("Where it was given out.", "归属地。"),
    "state": _said("active, grace, suspended, …", "active 正常、grace 宽限、suspended 停机……"),
    "active_until": _said("Full service until then.", "在此之前服务正常。"),
    "grace_until": _said("Incoming calls until then.", "在此之前可以接听。"),
    "buckets": _said("Credit that expires by itself.", "会单独到期的余额。"),
    "Bucket.kind": _said("What it is.", "种类。"),
    "Bucket.amount": _said("What is left.", "剩余。"),
    "expires_at": _said("When it expires, UTC.", "到期时间，UTC。"),
    # headers
    "Idempotency-Key": _said("", "", pattern="^[!-~]{1,255}$"),
}
