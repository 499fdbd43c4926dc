"""The pages for partners' developers, made from the table: `/openapi.json`, `/developers`, and a page for every refusal.

They are ours alone: nothing is fetched from elsewhere, and a reader's key never leaves the page but to ask us.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill import __version__
from refill.channels.machines.html import Html, join, prose, tag
from refill.channels.machines.openapi import document, field_of, parameters_of, refusals_of, schemas_of, shapes_of
from refill.channels.machines.operation import JSON, Operation, Words
from refill.channels.partner_api.problems import Refusal, catalogue
from refill.channels.partner_api.webhooks import POSTED
from refill.channels.partner_api.words import FIELDS, GROUPS, PAGE
from refill.errors import NotFound, RefillError

SAYS = """\
Top-ups of mobile phones, paid from a prepaid float. Amounts are decimal strings with a currency, times are UTC, phone
numbers carry their country code. Refusals are problem documents (RFC 9457): decide by `code`.
"""
HERE = Path(__file__).parent / "pages"
FILES = {"developers.css": "text/css", "developers.js": "text/javascript"}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"  # without scripts nothing that was typed gets into an address
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Language",
}
Schema = Mapping[str, Any]


def openapi(operations: Sequence[Operation], server: str) -> bytes:
    """The OpenAPI document as it is served."""
    told = document(
        operations,
        FIELDS,
        title="Refill partner API",
        version=__version__,
        says=SAYS,
        server=server,
        events=POSTED,
    )
    return msgspec.json.encode(told)


def developers_routes(operations: Sequence[Operation], public_url: str, *others: type[RefillError]) -> list[BaseRoute]:
    """Nobody needs a key for these. All is made at its first request and kept: it never changes while we run."""
    described: list[bytes] = []
    files = {name: (HERE / name).read_bytes() for name in FILES}
    pages: dict[tuple[str, str], Html] = {}

    def page(name: str, request: Request) -> Response:
        language = _language(request)
        if (name, language) not in pages:
            pages[name, language] = Pages(operations, public_url, language, files, *others).page(name)
        return Response(
            pages[name, language], 200, {**HEADERS, "Content-Language": language}, "text/html; charset=utf-8"
        )

    async def openapi_json(_: Request) -> Response:
        if not described:
            described.append(openapi(operations, public_url))
        return Response(described[0], media_type=JSON)

    async def developers(request: Request) -> Response:
        return page("developers", request)

    async def problem(request: Request) -> Response:
        return page(f"problems/{request.path_params['code']}", request)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise NotFound("There is no such file.")
        headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return Response(files[name], 200, headers, f"{FILES[name]}; charset=utf-8")

    return [
        Route("/openapi.json", openapi_json, methods=["GET"]),
        Route("/developers", developers, methods=["GET"]),
        Route("/developers/{name}", file, methods=["GET"]),
        Route("/problems/{code}", problem, methods=["GET"]),
    ]


def _language(request: Request) -> str:
    """What the address says, else what the browser asks for first."""
    asked = request.query_params.get("lang") or request.headers.get("accept-language", "")
    return "zh" if asked.strip().lower().startswith("zh") else "en"


class Pages:
    """The pages in one language."""

    def __init__(
        self,
        operations: Sequence[Operation],
        public_url: str,
        language: str,
        files: Mapping[str, bytes],
        *others: type[RefillError],
    ) -> None:
        self._operations = operations
        self._url = public_url
        self._language = language
        self._files = files
        self._codes = catalogue(operations, *others)
        self._schemas: dict[str, Any] = schemas_of(shapes_of(operations), FIELDS)

    def page(self, name: str) -> Html:
        """`developers` or `problems/<code>`. Raises NotFound."""
        if name == "developers":
            return self._whole(self._say("title"), "/developers", self._developers())
        code = self._codes.get(name.removeprefix("problems/"))
        if code is None:
            raise NotFound("There is no problem with that code.")
        return self._whole(code.code, f"/{name}", self._problem(code))

    # -------------------------------------------------------------- the frame

    def _whole(self, title: str, path: str, body: Html) -> Html:
        other = "en" if self._language == "zh" else "zh"
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", f"{title} · Refill"),
            tag("link", rel="icon", href="data:,"),
            tag("link", rel="stylesheet", href=self._file("developers.css")),
        )
        top = tag(
            "header",
            tag("a", "Refill", class_="brand", href=f"/developers?lang={self._language}"),
            tag("a", "OpenAPI 3.1", href="/openapi.json"),
            tag("a", PAGE["other"].en if other == "en" else PAGE["other"].zh, href=f"{path}?lang={other}", lang=other),
            class_="top",
        )
        skip = tag("a", self._say("skip"), class_="skip", href="#main")
        script = tag("script", src=self._file("developers.js"), defer=True) if path == "/developers" else Html("")
        shell = tag(
            "body",
            skip,
            top,
            body,
            script,
            data_needs_key=self._say("needs_key"),
            data_no_answer=self._say("no_answer"),
        )
        return Html("<!doctype html>\n") + tag("html", head, shell, lang=self._language)  # type: ignore[return-value]

    def _file(self, name: str) -> str:
        return f"/developers/{name}?v={blake2b(self._files[name], digest_size=6).hexdigest()}"

    def _say(self, name: str) -> str:
        return self._in(PAGE[name])

    def _in(self, words: Words) -> str:
        return words.zh if self._language == "zh" else words.en

    # -------------------------------------------------------------- all operations

    def _developers(self) -> Html:
        groups: dict[str, list[Operation]] = {}
        for operation in self._operations:
            groups.setdefault(operation.group, []).append(operation)
        contents = [
            join(tag("h2", self._in(GROUPS[group])), tag("ul", *(self._entry(each) for each in members)))
            for group, members in groups.items()
        ]
        sections = [
            join(tag("h2", self._in(GROUPS[group])), *(self._operation(each) for each in members))
            for group, members in groups.items()
        ]
        intro = join(
            tag("h1", self._say("title")),
            tag("p", prose(self._say("lead")), class_="lead"),
            self._key(),
            tag("section", tag("h2", self._say("rules")), tag("div", *self._rules(), class_="sheet")),
        )
        nav = tag("nav", *contents, aria_label=self._say("contents"))
        told = tag("div", *sections, self._all_codes(), class_="told")
        return tag("div", tag("main", tag("div", intro, class_="intro"), nav, told, id="main"), class_="frame wide")

    def _entry(self, operation: Operation) -> Html:
        return tag("li", tag("a", self._in(operation.says), href=f"#{operation.name}"))

    def _key(self) -> Html:
        return tag(
            "section",
            tag("label", self._say("key"), for_="key"),
            tag(
                "input", id="key", type="password", autocomplete="off", spellcheck="false", aria_describedby="key-kept",
                placeholder="rk_live_…",
            ),
            tag("p", prose(self._say("key_kept")), class_="quiet", id="key-kept"),
            class_="sheet",
        )  # fmt: skip

    def _rules(self) -> Iterator[Html]:
        for name in ("rule_once", "rule_certainty", "rule_pages", "rule_refused", "rule_forms"):
            yield tag("p", prose(self._say(name)))

    def _operation(self, operation: Operation) -> Html:
        title = tag(
            "h3",
            tag("span", operation.method, class_="method"),
            tag("span", operation.path, class_="path"),
        )
        parts = [title, tag("p", prose(self._in(operation.says)))]
        if self._in(operation.more):
            parts.append(tag("p", prose(self._in(operation.more)), class_="quiet"))
        parts.append(tag("p", self._say("scope") + " ", tag("code", operation.scope), class_="quiet"))
        parts.append(self._given(operation))
        parts.append(self._answers(operation))
        parts.append(self._refusals(operation))
        parts.append(self._examples(operation))
        parts.append(self._try(operation))
        return tag("article", *parts, class_="sheet", id=operation.name)

    # -------------------------------------------------------------- fields

    def _given(self, operation: Operation) -> Html:
        rows = [self._field("path", name, {"type": "string"}, must=True) for name in parameters_of(operation)]
        for name, says in operation.headers.items():
            rows.append(self._row(name, self._in(says), self._say("header"), must=False))
        if operation.query is not None:
            told = next(iter(msgspec.json.schema(operation.query)["$defs"].values()))
            rows += [self._field(operation.query.__name__, *each, must=False) for each in told["properties"].items()]
        if operation.body is not None:
            rows += self._fields(operation.body.__name__)
        return join(tag("h4", self._say("given")), tag("dl", *rows)) if rows else Html("")

    def _fields(self, shape: str, known: tuple[str, ...] = ()) -> list[Html]:
        """The fields of a Struct, and of those that it is made of."""
        schema = self._schemas[shape]
        rows = []
        for name, told in schema["properties"].items():
            rows.append(self._field(shape, name, told, must=name in schema.get("required", ())))
            inner = _inner(told)
            if inner is not None and inner not in known:
                rows.append(tag("dd", tag("dl", *self._fields(inner, (*known, shape, inner)))))
        return rows

    def _field(self, shape: str, name: str, told: Schema, *, must: bool) -> Html:
        return self._row(name, self._in(field_of(FIELDS, shape, name).says), self._kind(told), must=must)

    def _row(self, name: str, says: str, kind: str, *, must: bool) -> Html:
        marks = [tag("code", name), tag("span", kind, class_="kind")]
        if must:
            marks.append(tag("span", self._say("must"), class_="must"))
        return join(tag("dt", *marks), tag("dd", prose(says)))

    def _kind(self, told: Schema) -> str:
        branches = told.get("anyOf", [told])
        names = []
        for branch in branches:
            if "$ref" in branch:
                names.append(branch["$ref"].rpartition("/")[2])
            elif "enum" in branch:
                names.append(" · ".join(map(str, branch["enum"])))
            elif branch.get("type") == "array":
                names.append(self._say("list"))
            else:
                names.append(
                    {"date-time": "date-time", "date": "date"}.get(branch.get("format", ""), str(branch.get("type")))
                )
        return " | ".join(names)

    def _answers(self, operation: Operation) -> Html:
        parts = [tag("h4", self._say("answers"))]
        for status, answer in sorted(operation.answers.items()):
            title = join(tag("code", f"{status} {HTTPStatus(status).phrase}"), Html("&nbsp; "), self._in(answer.says))
            rows = [row for shape in answer.shapes for row in self._fields(shape.__name__, (shape.__name__,))]
            if rows:
                parts.append(tag("details", tag("summary", tag("span", title)), tag("dl", *rows)))
            else:
                parts.append(tag("p", title))
        return join(*parts)

    def _refusals(self, operation: Operation) -> Html:
        codes = list(dict.fromkeys(error.code for error in refusals_of(operation)))
        links: list[Html] = []
        for code in codes:
            links += [Html(" "), tag("a", tag("code", code), href=f"/problems/{code}?lang={self._language}")]
        return join(tag("h4", self._say("refusals")), tag("p", *links))

    # -------------------------------------------------------------- examples

    def _examples(self, operation: Operation) -> Html:
        return join(
            tag("h4", self._say("examples")),
            tag("details", tag("summary", "curl"), tag("pre", tag("code", curl(operation, self._url)), tabindex="0")),
            tag(
                "details", tag("summary", "Python"), tag("pre", tag("code", python(operation, self._url)), tabindex="0")
            ),
        )

    def _try(self, operation: Operation) -> Html:
        fields: list[Html] = []
        for place, name in _inputs(operation):
            id_ = f"{operation.name}-{place}-{name}"
            value = str(operation.example.get(name, ""))
            fields.append(tag("label", tag("code", name), for_=id_))
            value = "" if value.endswith("_…") else value
            fields.append(tag("input", id=id_, name=f"{place}:{name}", value=value, autocomplete="off"))
        if operation.body is not None or operation.form is not None:
            id_ = f"{operation.name}-body"
            fields.append(tag("label", self._say("body"), for_=id_))
            fields.append(tag("textarea", _body(operation), id=id_, name="body:", spellcheck="false"))
        answer = tag(
            "div", tag("p", class_="said"), tag("pre", tabindex="0"), class_="answer", aria_live="polite", hidden=True
        )
        form = tag(
            "form",
            *fields,
            tag("button", f"{self._say('run')} {operation.method} {operation.path}", type="submit"),
            answer,
            data_name=operation.name,
            data_method=operation.method,
            data_path=operation.path,
            data_form=operation.form or JSON,
            data_leads=json.dumps({name: next(iter(parameters)) for name, parameters in operation.leads.items()}),
        )
        return tag("details", tag("summary", self._say("try")), form)

    # -------------------------------------------------------------- refusals

    def _all_codes(self) -> Html:
        rows = [
            tag(
                "li",
                tag(
                    "a",
                    tag("code", code.code),
                    tag("span", str(code.status), class_="quiet"),
                    tag("span", self._in(code.title)),
                    href=f"/problems/{code.code}?lang={self._language}",
                ),
            )
            for code in self._codes.values()
        ]
        return tag(
            "section",
            tag("h2", self._say("codes")),
            tag("div", tag("ul", *rows, class_="codes"), class_="sheet"),
            id="codes",
        )

    def _problem(self, code: Refusal) -> Html:
        again = self._say("again" if code.retryable else "not_again")
        body = tag(
            "div",
            tag("p", tag("code", f"{code.status} {HTTPStatus(code.status).phrase}"), class_="quiet"),
            tag("h2", self._say("cause")),
            tag("p", prose(self._in(code.cause))),
            tag("h2", self._say("next")),
            tag("p", prose(self._in(code.next))),
            tag("p", again, class_="quiet"),
            class_="sheet",
        )
        back = tag("p", tag("a", self._say("back"), href=f"/developers?lang={self._language}#codes"))
        main = tag(
            "main",
            tag("h1", tag("code", code.code)),
            tag("p", self._in(code.title), class_="lead"),
            body,
            back,
            id="main",
        )
        return tag("div", main, class_="frame")


def _inner(told: Schema) -> str | None:
    """The Struct that a field is, or is a list of."""
    for branch in told.get("anyOf", [told]):
        target = branch.get("items", branch)
        if "$ref" in target:
            return str(target["$ref"]).rpartition("/")[2]
    return None


def _inputs(operation: Operation) -> Iterator[tuple[str, str]]:
    """Where and what a reader of the page fills in beside the body."""
    for name in parameters_of(operation):
        yield "path", name
    if operation.query is not None:
        for field in msgspec.structs.fields(operation.query):
            yield "query", field.encode_name
    for name in operation.headers:
        yield "header", name


def _body(operation: Operation) -> str:
    """The example's body as it is sent."""
    body = operation.example.get("body", {})
    return body if isinstance(body, str) else json.dumps(body, indent=1, ensure_ascii=False)


def _address(operation: Operation, url: str) -> str:
    path = operation.path
    for name in parameters_of(operation):
        path = path.replace(f"{{{name}}}", str(operation.example.get(name, "…")).replace("+", "%2B"))
    query = {} if operation.query is None else {f.encode_name for f in msgspec.structs.fields(operation.query)}
    asked = [f"{name}={value}" for name, value in operation.example.items() if name in query]
    return url + path + (f"?{'&'.join(asked)}" if asked else "")


def curl(operation: Operation, url: str) -> str:
    """The example as a command; the key is in the environment, so that no shell remembers it."""
    address = _address(operation, url)
    lines = [f"curl -sS {shlex.quote(address)}", '-H "Authorization: Bearer $KEY"']
    if operation.method != "GET":
        lines[0] = f"curl -sS -X {operation.method} {shlex.quote(address)}"
    if operation.body is not None or operation.form is not None:
        lines.append(f"-H 'Content-Type: {operation.form or JSON}'")
        lines.append(f"--data-binary {shlex.quote(_body(operation))}")
    return " \\\n  ".join(lines)


def python(operation: Operation, url: str) -> str:
    """The example as a program that needs nothing but Python."""
    headers = ['"Authorization": f"Bearer {os.environ[\'KEY\']}"']
    lines = ["import os", "import urllib.request", ""]
    body = ""
    if operation.body is not None:
        lines.insert(0, "import json")
        told = json.dumps(operation.example.get("body", {}), indent=4, ensure_ascii=False)
        told = told.replace(": true", ": True").replace(": false", ": False").replace(": null", ": None")
        lines.append(f"body = json.dumps({told}).encode()")
    elif operation.form is not None:
        lines.append(f"body = {_body(operation)!r}.encode()")
    if operation.body is not None or operation.form is not None:
        headers.append(f'"Content-Type": "{operation.form or JSON}"')
        body = " data=body,"
    lines += [
        "request = urllib.request.Request(",
        f'    "{_address(operation, url)}",',
        f'    method="{operation.method}",{body}',
        f"    headers={{{', '.join(headers)}}},",
        ")",
        "with urllib.request.urlopen(request) as answer:",
        "    print(answer.status, answer.read().decode())",
    ]
    return "\n".join(lines)
