"""The tables in these pages that come from the code: `python docs/generated.py` writes them, a test compares them."""

import ast
import inspect
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from refill import cases
from refill.app import port_settings
from refill.cards import states as card_states
from refill.channels.machines import openapi
from refill.channels.partner_api import app, health, problems
from refill.channels.partner_api import table as table_
from refill.ledger.accounts import ROLES
from refill.settings import PREFIX, READERS, Settings, read_settings
from refill.simulators.operator import WHAT_HAPPENS
from refill.simulators.trouble import BY_SUFFIX
from refill.topup.states import EDGES, REMARKS

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src" / "refill"
MARKED = re.compile(r"(<!-- begin: ([a-z-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


# ------------------------------------------------------------------ tables


def table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; `head` names its columns, divided by bars."""
    columns = head.split("|")
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(*words: str) -> str:
    """Words as code: `a` `b`."""
    return " ".join(f"`{word}`" for word in words)


# ------------------------------------------------------------------ architecture.md


def transitions() -> str:
    """Every legal move of an order."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, edges in EDGES.items():
            for edge in edges:
                before = f"{code(*sorted(edge.payment))} / {code(*sorted(edge.delivery))}"
                after = ", ".join(f"`{p}` / " + ("as before" if d == "=" else f"`{d}`") for p, d in sorted(edge.to))
                yield code(name), "born" if edge.leaves("", "") else before, after

    remarks = ", ".join(f"`{remark}`" for remark in sorted(REMARKS))
    heading = "transition|from: payment / delivery|to: payment / delivery"
    return table(heading, rows()) + f"\nRemarks in a timeline that move neither machine: {remarks}.\n"


# ------------------------------------------------------------------ operations.md

WHAT_A_SETTING_DOES = {
    "host": "address to listen on",
    "database_url": "your own PostgreSQL, such as `postgresql://user@host/refill`; not set: the embedded one in the data folder",
    "workers": "does this process carry out due work too?",
    "port": "port of the pages and the API; the simulators take ports after it when they are free",
    "doors": "which doors this process opens: `all`, `people` (pages) or `machines` (API and callbacks)",
    "log_level": "how much is logged",
    "payment_expiry_s": "how long a person may take to pay, in seconds",
}


def settings() -> str:
    """Every setting with its default, from the class that reads them."""
    comments = dict(_comments(SOURCE / "settings.py"))
    defaults = read_settings({"XDG_DATA_HOME": "~/.local/share"})

    def default(name: str) -> str:
        value = getattr(defaults, name)
        if name == "data_dir":
            return "`~/.local/share/refill`; `/var/lib/refill` for root"
        if name == "master_key_file":
            return "`secrets/master.key` in the data folder"
        if name == "demo":
            return "on with the embedded database"
        if name == "simulators":
            return "on when no payment method and no supplier is set"
        if name == "public_url":
            return "from host and port"
        if isinstance(value, bool):
            return "on" if value else "off"
        return code(str(value)) if value not in (None, "") else "not set"

    def rows() -> Iterator[tuple[str, ...]]:
        for name in READERS:
            says = WHAT_A_SETTING_DOES.get(name) or comments.get(name, "")
            if not says:
                raise SystemExit(f"Say in docs/generated.py or beside it in settings.py what {name} does.")
            yield code(PREFIX + name.upper()), default(name), says
        for name, setting in port_settings().items():
            yield code(PREFIX + name.upper()), "not set", setting.says

    assert set(READERS) <= set(Settings.__dataclass_fields__)
    return table("setting|default|what it does", rows())


def _comments(file: Path) -> Iterator[tuple[str, str]]:
    """The comment behind each annotated field of a source file."""
    with file.open("rb") as lines:
        by_line = {
            t.start[0]: t.string.lstrip("# ") for t in tokenize.tokenize(lines.readline) if t.type == tokenize.COMMENT
        }
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.lineno in by_line:
            yield node.target.id, by_line[node.lineno]


WHAT_A_CASE_MEANS = {
    "unknown": (
        "The supplier could not tell an outcome by the deadline; the payer was refunded from suspense.",
        "Ask the supplier with the request id. Delivered: recover the money or write it off. Not delivered: nothing more.",
    ),
    "unknown_code": (
        "A supplier answered with a code that is in no table of ours; its orders count as unknown.",
        "Learn from the supplier what the code means and add it to the adapter's table.",
    ),
    "late_success": (
        "Credit arrived after the payer had the money back, or from an attempt that had been refused.",
        "Recover the money from the payer or the supplier, or write it off.",
    ),
    "late_payment": (
        "Money arrived for an order that had lapsed. Its refund started by itself.",
        "See that the refund is done; nothing else.",
    ),
    "paid_twice": (
        "A second payment for one order. Its refund started by itself.",
        "See that the refund is done; nothing else.",
    ),
    "wrong_amount": (
        "A payment of another amount, or by another method, than the order asked for. Its refund started by itself.",
        "See that the refund is done. If it happens again, look at the gateway's settings.",
    ),
    "stranger": (
        "A correctly signed notice names an order that we do not have.",
        "Was a database restored, or does another system share our merchant account? Find the owner of the money.",
    ),
    "refund_refused": (
        "The payment firm will not give the money back.",
        "Find out why with the firm's own page; pay the person another way and note it here.",
    ),
    "breaker": (
        "A supplier fails so often that nothing is sent to it for a while; orders go to others, or wait.",
        "Ask the supplier; in *Routing* the breaker is kept open, or closed by hand when it is well again.",
    ),
    "low_float": (
        "Our float at a supplier will be empty soon, and nobody waits for it yet.",
        "Pay into it, and book the money in *Floats at suppliers*; the case closes when the balance has risen.",
    ),
    "reversal_asked": (
        "Somebody asks an operator to take credit back.",
        "Another person confirms or declines it on the order's page, before the operator's time is over.",
    ),
    "reversal_stuck": (
        "An operator took credit back unasked, or cannot tell whether it did.",
        "Ask its people why, and whether it did.",
    ),
    "empty_float": (
        "Our prepaid money at a supplier is used up; its orders wait and resume by themselves.",
        "Send the supplier money.",
    ),
    "same_reference": (
        "A supplier gave two of our orders one name of its own; both are delivered by its word.",
        "Ask the supplier by our request ids. Was only one credited, take the other's money back from them, or credit it.",
    ),
    "low_stock": (
        "Fewer PINs of a product are left than there should be, or none, and paid orders wait for one.",
        "Buy PINs and import them; the case closes by itself, and waiting orders go on.",
    ),
    "wrong_cost": (
        "A supplier took more than was agreed, or bills in another currency than the catalogue says.",
        "Compare with their price list: change the cost or the currency of the supply, or ask for the difference back.",
    ),
    "thin_margin": (
        "A sale leaves less than its least margin, or costs more than it brings.",
        "Look at the page Margins; raise the price, change the order of suppliers, or let the rule refuse such sales.",
    ),
    "rate_old": (
        "An exchange rate ran out, or was never told; what a supplier bills in that currency is not sold.",
        "Tell the new rate on the page Exchange rates or with `refill rates tell`; the case closes by itself.",
    ),
    "voucher_guessing": (
        "Wrong PINs of vouchers come from many sessions or addresses at once; each is locked out for an hour.",
        "Is a print file lost, or does a program try PINs? Withdraw what was lost; shut the addresses out at the edge.",
    ),
    "difference": (
        "Our book and a file of theirs disagree.",
        "Look at both sides on the day's page and settle it with how; `docs/finance.md` tells what the system asked already.",
    ),
    "disputed": (
        "A payer's bank takes a payment back. The money has left clearing; an order that was not sent is not sent.",
        "Download the evidence on the order's page and send it to the payment firm in time, or let it go.",
    ),
    "dispute_lost": (
        "A payer's bank took a payment back for good.",
        "Was it fraud? Recover the money from the payer, or write it off; the loss stands in `loss:chargeback`.",
    ),
    "webhook_failing": (
        "A partner's endpoint accepted nothing for three days; nothing is sent there any more.",
        "Tell the partner. The page Webhooks shows its answers; test it there, and switch it on when it answers again.",
    ),
    "refund_asked": (
        "Somebody asks to give a payer money back.",
        "Another person confirms or declines it on the order's page.",
    ),
}


def case_kinds() -> str:
    """What a person must settle, how soon, and how."""

    def rows() -> Iterator[tuple[str, ...]]:
        for kind, limit in cases.AGE_LIMIT.items():
            means, do = WHAT_A_CASE_MEANS[kind]
            yield code(kind), f"{limit.total_seconds() / 3600:g} h", means, do

    return table("case|settle within|what happened|what to do", rows())


# ------------------------------------------------------------------ ledger.md


def roles() -> str:
    """The roles of accounts and how each behaves."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, role in ROLES.items():
            floor = "none" if role.floor is None else str(role.floor)
            opened = "by the first entry" if role.on_first_use else "with its owner"
            yield code(name), floor, opened, "many orders" if role.shared else "one subscriber"

    return table("role|floor when opened|opened|touched by", rows())


# ------------------------------------------------------------------ simulators.md


def suffixes() -> str:
    """What the simulated operator does with a number that ends so."""
    return table(
        "number ends in|trouble|what happens",
        ((code(end), code(name), WHAT_HAPPENS[name]) for end, name in BY_SUFFIX.items()),
    )


# ------------------------------------------------------------------ guides/operator.md


def stages() -> str:
    """How long each stage after the end of validity lasts."""
    days = {
        "grace": (card_states.GRACE_LASTS.days, "incoming calls only"),
        "suspended": (card_states.SUSPENSION_LASTS.days, "no service; a top-up still brings it back"),
        "expired": (card_states.QUARANTINE_LASTS.days, "no top-ups; what is left of the balance is ours (breakage)"),
    }
    return table("stage|days|what it means", ((code(name), str(n), says) for name, (n, says) in days.items()))


# ------------------------------------------------------------------ api.md

NOTHING: Any = None  # where only what is declared is asked for


def routes() -> str:
    """Every address, from the table that the routes come from."""

    def rows() -> Iterator[tuple[str, ...]]:
        for each in table_.operations(NOTHING, NOTHING):
            yield code(f"{each.method} {each.path}"), code(each.scope), each.says.en

    return table("address|scope|what it does", rows())


def bodies() -> str:
    """Every structure that is sent or answered."""
    shapes = with_parts(openapi.shapes_of(table_.operations(NOTHING, NOTHING)))
    parts = []
    for shape in shapes:
        rows = (
            (code(field.encode_name), _type(field), _presence(shape, field)) for field in msgspec.structs.fields(shape)
        )
        parts.append(f"### {shape.__name__}\n\n{inspect.getdoc(shape)}\n\n{table('field|type|', rows)}")
    return "\n".join(parts)


def with_parts(shapes: list[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """Structures, and those that they are made of."""
    found: dict[type[msgspec.Struct], None] = {}

    def take(type_: Any) -> None:
        if inspect.isclass(type_) and issubclass(type_, msgspec.Struct):
            if type_ not in found:
                found[type_] = None
                for field in msgspec.structs.fields(type_):
                    take(field.type)
            return
        for each in get_args(type_):
            take(each)

    for shape in shapes:
        take(shape)
    return list(found)


def _type(field: Any) -> str:
    return _kind(field.type)


def _kind(type_: Any) -> str:
    origin = get_origin(type_)
    if origin in (Union, UnionType):
        return " or ".join(_kind(each) for each in get_args(type_) if each is not msgspec.UnsetType)
    if origin is list:
        return f"array of {_kind(get_args(type_)[0])}"
    if hasattr(type_, "__metadata__"):
        most = next((meta.max_length for meta in type_.__metadata__ if meta.max_length), None)
        return _kind(type_.__origin__) + (f", at most {most}" if most else "")
    if origin is Literal:
        return " or ".join(code(each) for each in get_args(type_))
    names = {str: "string", int: "number", bool: "true or false", datetime: "time (RFC 3339, UTC)", type(None): "null"}
    names[date] = "day (2026-11-22)"
    return names.get(type_) or f"[{type_.__name__}](#{type_.__name__.lower()})"


def _presence(shape: type, field: Any) -> str:
    config = shape.__struct_config__
    if config.forbid_unknown_fields:
        return "required" if field.required else "may be left out"
    return "left out when empty" if config.omit_defaults and not field.required else "always"


def refusals() -> str:
    """Every refusal that a client may meet, by code."""
    told = problems.catalogue(table_.operations(NOTHING, NOTHING), app.WrongAddress, app.WrongMethod)
    rows = ((code(r.code), str(r.status), "yes" if r.retryable else "no", r.title.en + ".") for r in told.values())
    return table("code|status|retryable|meaning", rows)


def watching() -> str:
    """The addresses for load balancers and Prometheus."""
    nothing: Any = None
    says = {
        "/healthz": "200 while the process lives",
        "/readyz": f"200 when the database answers within {health.PATIENCE_S:g} s, else 503",
        "/metrics": "Prometheus; from this machine, or with a key of the scope `metrics`",
    }
    batchers = type("Batchers", (), {"singles": _Idle(), "bulks": _Idle()})()
    paths = [route.path for route in health.health_routes(nothing, nothing, batchers)]
    return table("address|answer", ((code(f"GET {path}"), says[path]) for path in paths))


class _Idle:
    """Stands where a batcher is counted."""

    waiting = batches = rows = refused = poisoned = 0


# ------------------------------------------------------------------ writing

TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "architecture.md": {"transitions": transitions},
    "operations.md": {"settings": settings, "cases": case_kinds},
    "ledger.md": {"roles": roles},
    "simulators.md": {"suffixes": suffixes},
    "api.md": {"routes": routes, "bodies": bodies, "refusals": refusals, "watching": watching},
    "guides/operator.md": {"stages": stages},
}


def page(name: str) -> str:
    """The page as it should be, its tables made anew."""
    makers = TABLES[name]
    text = (DOCS / name).read_text("utf-8")
    assert sorted(match[2] for match in MARKED.finditer(text)) == sorted(makers), f"the marks in {name}"
    return MARKED.sub(lambda match: f"{match[1]}\n{makers[match[2]]()}\n{match[3]}", text)


def main() -> None:
    """Writes every page whose tables have changed."""
    for name in TABLES:
        made = page(name)
        if made != (DOCS / name).read_text("utf-8"):
            (DOCS / name).write_text(made, "utf-8")
            print(f"docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
