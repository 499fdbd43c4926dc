"""What every field of the partner API means, in both languages, with what its type does not tell of its form."""

from typing import Any

from refill.channels.machines.openapi import Field, Fields
from refill.channels.machines.operation import Words
from refill.notify import EVENTS

AMOUNT = {"pattern": r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$", "maxLength": 20}
SIGNED = {"pattern": r"^-?[0-9]{1,18}(\.[0-9]{1,4})?$"}
CURRENCY = {"pattern": "^[A-Z]{3}$"}
MSISDN = {"pattern": r"^\+?[0-9]+([ \-][0-9]+)*$", "maxLength": 24}
WORD = {"pattern": r"^[a-z0-9][a-z0-9_.\-]{0,63}$"}
REFERENCE = {"pattern": "^[ -~]{1,128}$"}
TOP_UP_ID = {"pattern": "^tu_[0-9a-z]{24}$"}
QUOTE_ID = {"pattern": "^qu_[0-9a-z]{24}$"}
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
    "TopUpAsk.quote": _said(
        "A quote of POST /v1/quotes: its price counts. One top-up uses one.",
        "POST /v1/quotes 给的报价编号，按它的价格充。一个报价只能用一次。",
        **QUOTE_ID,
    ),
    "Quote.quote": _said("The id of the quote: qu_…", "报价的编号：qu_…", **QUOTE_ID),
    "QuoteAsk.msisdn": _said(
        "The number that the quote is for; left out: any number of the operator.",
        "报价所针对的号码；不写就对该运营商的任何号码有效。",
        **MSISDN,
    ),
    "QuoteAsk.amount": _said("What the phone shall get.", "到账金额。", **AMOUNT),
    "QuoteAsk.operator": _said("The operator; needed without a number.", "运营商；没有写号码时必须写。", **WORD),
    "lasts_s": _said(
        "How long the price shall hold, in seconds: at most a day; ten minutes if left out.",
        "价格保持多久，以秒计：最多一天；不写就是十分钟。",
        pattern="^[0-9]{1,5}$",
    ),
    "Quote.expires_at": _said("The price holds until just before this moment.", "在这个时刻之前价格有效。"),
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
    "StatementWanted.time_zone": _said(
        "Whose midnight divides the days: an IANA name; left out: your own.",
        "按哪个时区的零点分日：IANA 时区名；不写就按你的时区。",
    ),
    "format": _said("json, csv or xlsx.", "json、csv 或 xlsx。"),
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
    "arrives": _said(
        "How long credit took lately, in seconds after payment; null: too little arrived to say.",
        "最近到账用时（付款后的秒数）；null 表示最近到账太少，说不准。",
    ),
    "usual_s": _said("Half of the top-ups arrived within this.", "一半的充值在这个时间内到账。"),
    "nearly_all_s": _said("95 of 100 arrived within this.", "95% 的充值在这个时间内到账。"),
    "counted": _said("How many top-ups that is drawn from.", "统计所依据的充值笔数。"),
    "products": _said("What is on sale.", "在售商品。"),
    "kind": _said("fixed: one amount; range: any amount between two.", "fixed 固定面值；range 区间内任意金额。"),
    "category": _said("What it is: airtime, data, pin, …", "品类：airtime 话费、data 流量、pin 卡密……"),
    "contents": _said("What is in a bundle, in English.", "套餐内容（英文）。"),
    "contents_zh": _said("What is in a bundle, in Chinese.", "套餐内容（中文）。"),
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
    # files
    "Upload.id": _said("Our id of the file: up_…", "文件的编号：up_…"),
    "Upload.status": _said(
        "queued, running or done.", "queued 排队、running 处理中、done 完成。", enum=["queued", "running", "done"]
    ),
    "rows": _said("Rows in the file.", "文件里的行数。"),
    "waiting": _said("Rows that are not done yet.", "还没处理的行数。"),
    "done_at": _said("When the last row was done, UTC.", "最后一行处理完的时间，UTC。"),
    "result": _said("Where the result is, once all is done.", "全部完成后，结果文件的地址。"),
    # webhooks
    "webhooks": _said("The endpoints.", "各接收地址。"),
    "path.webhook": _said("The endpoint's id: we_…", "接收地址的编号：we_…", pattern="^we_[0-9a-z]{24}$"),
    "path.event": _said("The event's id.", "事件的编号。", pattern="^[a-z]{2}_[0-9a-z]{24}e[0-9]{1,9}$"),
    "url": _said(
        "Where we post to: https, and reachable for everybody.",
        "推送到哪里：必须是公网可访问的 https 地址。",
        maxLength=500,
    ),
    "events": _said(
        "Which events it hears; empty: all.",
        "接收哪些事件；空列表就是全部。",
        items={"type": "string", "enum": list(EVENTS)},
    ),
    "description": _said("For your own eyes.", "给你自己看的说明。", maxLength=200),
    "enabled": _said("Shall anything be sent there?", "是否推送。"),
    "float_below": _said(
        "Tell `float.low` when the float falls below this, in its currency.",
        "预付款低于这个金额时推送 `float.low`。",
        **AMOUNT,
    ),
    "Webhook.state": _said("active or disabled.", "active 启用，disabled 停用。"),
    "WebhookWithSecret.state": _said("active or disabled.", "active 启用，disabled 停用。"),
    "why": _said(
        "Why it is disabled: asked, you did it; gone, it answered 410; failing, it accepted nothing for three days.",
        "停用原因：asked 你自己停用；gone 它回答了 410；failing 三天没有接收成功。",
    ),
    "failing_since": _said("The first failure since it accepted something.", "从什么时候开始一直失败。"),
    "both_secrets_until": _said("Until then the former secret signs too.", "在此之前旧密钥也参与签名。"),
    "secret": _said("Keep it safe; it is shown this once.", "请妥善保存；只显示这一次。"),
    "deliveries": _said("The deliveries.", "各次推送。"),
    "delivery": _said("The delivery.", "这次推送。"),
    "tries": _said("How often it was tried.", "已尝试次数。"),
    "DeliveryLog.tries": _said("Every request that was made, the first one first.", "发出的每个请求，最早的在前。"),
    "event": _said("The event's id, the header `webhook-id`.", "事件编号，即请求头 `webhook-id`。"),
    "Delivery.type": _said("What happened.", "发生了什么。"),
    "subject": _said(
        "The object that it happened to: a top-up's id, or the endpoint's for `float.low`.",
        "事件的对象：充值编号；`float.low` 则是接收地址编号。",
    ),
    "sequence": _said(
        "1, 2, 3 … for each object; they arrive in this order.", "每个对象的事件依次编号 1、2、3……，按此顺序推送。"
    ),
    "Delivery.state": _said(
        "waiting, accepted, or given_up after three days.", "waiting 等待中，accepted 已接收，given_up 三天后放弃。"
    ),
    "DeliveriesWanted.state": _said("Only deliveries that stand so.", "只看这个状态的推送。"),
    "ReplayAsk.state": _said(
        "Only what was accepted, or given_up.", "只重推 accepted 已接收的，或 given_up 已放弃的。"
    ),
    "ReplayAsk.from": _said("Happened then or later.", "发生时间不早于此。"),
    "ReplayAsk.until": _said("Happened before.", "发生时间早于此。"),
    "Delivery.status": _said("The HTTP status of the latest answer.", "最近一次回答的 HTTP 状态码。"),
    "Try.status": _said("The HTTP status; null: no answer came.", "HTTP 状态码；null 表示没有回答。"),
    "Tested.status": _said("The HTTP status; null: no answer came.", "HTTP 状态码；null 表示没有回答。"),
    "next_try_at": _said("When it is tried next.", "下一次尝试的时间。"),
    "Delivery.done_at": _said("When it was accepted or given up.", "接收成功或放弃的时间。"),
    "number": _said("Which try.", "第几次尝试。"),
    "latency_ms": _said("How long the answer took, in milliseconds.", "回答用了多少毫秒。"),
    "answer": _said(
        "The first 500 bytes of the answer, or why none came; numbers of people are masked.",
        "回答的前 500 字节，或没有回答的原因；号码已遮盖。",
    ),
    "Replayed.replayed": _said("How many events are told again.", "重新推送的事件数。"),
    "Replayed.limit": _said("How many at most at a time.", "一次最多多少个。"),
    **{f"{shape}.type": _said("What happened.", "发生了什么。") for shape in ("TopUpEvent", "FloatEvent", "TestEvent")},
    "timestamp": _said("When it happened, UTC.", "发生时间，UTC。"),
    "TopUpEvent.data": _said("The top-up as it was then.", "这笔充值当时的样子。"),
    "FloatEvent.data": _said("The float.", "预付款。"),
    "TestEvent.data": _said("Nothing but where it was sent.", "只写明发往哪里。"),
    "Low.balance": _said("What is left.", "余额。", **SIGNED),
    "below": _said("What you named.", "你设定的金额。", **AMOUNT),
    "endpoint": _said("The endpoint's id.", "接收地址的编号。"),
    "Tested.accepted": _said("Was it answered with 2xx?", "回答是否为 2xx。"),
    # numbers' histories, PINs, reversals
    "operator_source": _said(
        "Who says so: our own network, a person, a delivery, a look-up, or only the prefix.",
        "依据：本网、人工认定、以往充值、查询，或仅凭号段。",
    ),
    "ported": _said("Was it ported? null: nobody told us.", "是否携号转网；null 表示不知道。"),
    "warnings": _said("What to look at twice before paying.", "付款前要多看一眼的事。"),
    "TopUp.pin": _said("The operator's PIN, when that is what was sold.", "所售的运营商充值密码（如果卖的是密码）。"),
    "Pin.pin": _said("The PIN.", "密码。"),
    "serial": _said("The serial beside it.", "序列号。"),
    "expires_on": _said("The last day on which it can be used.", "最后可用的日期。"),
    "asked_at": _said("When it was asked for, UTC.", "申请时间，UTC。"),
    "ended_at": _said("When it was decided, UTC.", "有结果的时间，UTC。"),
    "ReversalAsk.reason": _said(
        "Why it is to be taken back, in words; kept for people who look later.",
        "为什么要冲正，用文字写；留给日后查看的人。",
        pattern="^[^\\u0000-\\u001f\\u007f]{1,200}$",
    ),
    "ReversalTold.state": _said(
        "processing: the operator is being asked; reversed: all of it is taken back, and the price with you; refused: the "
        "credit stays; unknown: the operator cannot tell, and our people ask it.",
        "processing 正在向运营商申请；reversed 已全额冲正，钱已退给你；refused 话费保留；unknown 运营商说不清，由我们的人去问。",
    ),
    "ReversalTold.reason": _said("Why it was asked for.", "申请冲正的理由。"),
    "refused_because": _said(
        "spent: part of it was used; too_late; declined by the operator.",
        "spent 已用掉一部分；too_late 太晚了；declined 运营商不同意。",
    ),
    # scratch cards
    "CardAsk.msisdn": _said("A number of our own network.", "本网号码。", **MSISDN),
    "CardAsk.pin": _said("The PIN under the scratch-off field, in groups or not.", "涂层下的密码，分组与否都可以。"),
    "person": _said("Your own word for whoever types the PIN.", "你给输入密码的人起的代号。"),
    # headers
    "Idempotency-Key": _said("", "", pattern="^[!-~]{1,255}$"),
}

GROUPS = {
    "topups": Words("Top-ups", "充值"),
    "files": Words("Files of top-ups", "批量文件"),
    "catalogue": Words("What is on sale", "在售商品"),
    "numbers": Words("Numbers", "号码"),
    "account": Words("Your float", "预付款"),
    "vouchers": Words("Vouchers", "充值卡"),
    "webhooks": Words("Webhooks", "事件推送"),
}

PAGE = {
    "title": Words("For developers", "开发者文档"),
    "lead": Words(
        "Sell top-ups of mobile phones from a prepaid float. Every example on this page runs, against this very server.",
        "用预付款销售手机充值。本页的每个例子都可以直接在这台服务器上运行。",
    ),
    "skip": Words("Skip to the content", "跳到正文"),
    "other": Words("English", "中文"),
    "contents": Words("Contents", "目录"),
    "key": Words("Your key, to run the examples", "你的密钥（运行例子时使用）"),
    "key_kept": Words(
        "It stays in this page and is forgotten when you leave. Runs are real: a top-up takes real money from your float.",
        "密钥只留在本页里，离开页面就忘掉。运行是真的：充值会真的从你的预付款里扣钱。",
    ),
    "needs_key": Words("Paste your key at the top of the page first.", "请先在页面上方粘贴你的密钥。"),
    "no_answer": Words(
        "No answer came. Send it again: the same name is the same top-up.",
        "没有收到回答。请再发一次：同一个名字就是同一笔充值。",
    ),
    "rules": Words("What always holds", "通用约定"),
    "rule_once": Words(
        "Everything that costs money has a name of yours, `reference` or `Idempotency-Key`. The same name with the same "
        "content answers the first result, for ever; with other content it is refused.",
        "凡是花钱的请求都有你起的名字：`reference` 或 `Idempotency-Key`。同名同内容，永远得到第一次的结果；内容不同会被拒绝。",
    ),
    "rule_certainty": Words(
        "What we do not know, we say: `certainty` is `unknown` while an operator has not told. Never sell it again under "
        "another name; ask, or wait for a webhook.",
        "不知道的事我们会直说：运营商没有答复时，`certainty` 是 `unknown`。请不要换个名字重新充，而是再查询，或等待事件推送。",
    ),
    "rule_pages": Words(
        "Lists come in pages, the latest first. Send `next` back as `cursor`; null says that there is no more.",
        "列表分页返回，最近的在前。把 `next` 作为 `cursor` 发回来就是下一页；null 表示没有了。",
    ),
    "rule_refused": Words(
        "A refusal is `application/problem+json`. Decide by its `code`; its `type` is a page here that says what to do. "
        "`429` and `503` carry `Retry-After`.",
        "拒绝的回答是 `application/problem+json`。请按 `code` 判断；`type` 是说明怎么办的网页。`429`、`503` 带 `Retry-After`。",
    ),
    "rule_forms": Words(
        'Amounts are strings, `"50.00"` with `"CNY"`; times are UTC; numbers carry their country code. Every answer carries '
        "`X-Request-Id`, yours if you sent one; quick top-ups leave it out.",
        '金额是字符串，如 `"50.00"` 和 `"CNY"`；时间是 UTC；号码带国家码。除下单外，回答都带 `X-Request-Id`，你发了就用你的。',
    ),
    "scope": Words("Scope:", "所需权限："),
    "given": Words("What you send", "发送"),
    "header": Words("header", "请求头"),
    "must": Words("required", "必填"),
    "list": Words("list", "列表"),
    "answers": Words("What you get", "得到"),
    "refusals": Words("What may be refused", "可能被拒绝的原因"),
    "examples": Words("Example", "示例"),
    "try": Words("Run it here", "在这里运行"),
    "body": Words("Body", "请求体"),
    "run": Words("Run", "运行"),
    "codes": Words("All codes of refusals", "全部错误代码"),
    "cause": Words("What happened", "发生了什么"),
    "next": Words("What to do next", "接下来怎么办"),
    "again": Words("The very same request may succeed later.", "同一个请求以后再发可能会成功。"),
    "not_again": Words("The very same request will be refused again.", "同一个请求再发还是会被拒绝。"),
    "back": Words("All codes", "全部代码"),
}
