"""What a machine may ask of us, written down once: routes, checks, OpenAPI and the developers' pages come from this."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from refill.accounts import KeyRing, PartnerKey
from refill.channels.machines.body import WrongForm, body_of
from refill.channels.machines.json import Reader
from refill.channels.machines.keys import needs, partner_of
from refill.errors import BadInput, RefillError

Shape = TypeVar("Shape", bound=msgspec.Struct)

JSON = "application/json"
CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Words(NamedTuple):
    """A sentence in the two languages that we speak."""

    en: str
    zh: str


NO_WORDS = Words("", "")


class Answer(NamedTuple):
    """What a good request is answered with; `shapes` are the Structs that a JSON body may be, none for another form."""

    says: Words
    shapes: tuple[type[msgspec.Struct], ...] = ()
    form: str = JSON
    headers: Mapping[str, Words] = {}
    or_forms: tuple[str, ...] = ()  # other forms, when they are asked for


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose key, scope, query and body hold."""

    request: Request
    key: PartnerKey
    query: Any = None  # of the operation's type `query`
    body: Any = None  # of the operation's type `body`

    @property
    def path(self) -> Mapping[str, str]:
        """The parts of the address that stand in braces."""
        parts: Mapping[str, str] = self.request.path_params
        return parts


Handle = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to ask: where, with which right, what goes in, what comes out, what may be refused, and an example.

    `handle` is None for a hot route, which the lane serves. `example` are the values that the developers' page fills in:
    by name those of the address and the query, `body` and `headers` as they are sent. An operation with `form` reads its
    body itself.
    """

    method: str
    path: str
    name: str
    group: str
    says: Words
    scope: str
    answers: Mapping[int, Answer]
    handle: Handle | None = None
    more: Words = NO_WORDS
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    form: str | None = None
    headers: Mapping[str, Words] = field(default_factory=dict)
    errors: Sequence[type[RefillError]] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    leads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # OpenAPI's links: operation, its parameters
    kept: bool = False  # the answer changes seldom: it gets an ETag, and who has it already hears 304


def routes_of(operations: Iterable[Operation], keyring: KeyRing) -> list[BaseRoute]:
    """A route for every address; addresses without braces come first, so that none is taken for somebody's id."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return [Route(path, Address(by_path[path], keyring)) for path in sorted(by_path, key=lambda path: "{" in path)]


class Address:
    """All that may be asked at one address; any other method hears 405 and which ones there are (RFC 9110 §15.5.6)."""

    def __init__(self, operations: Sequence[Operation], keyring: KeyRing) -> None:
        self._endpoints = {each.method: _endpoint(each, keyring) for each in operations if each.handle is not None}
        if "GET" in self._endpoints:
            self._endpoints["HEAD"] = self._endpoints["GET"]
        self._allow = ", ".join(sorted({each.method for each in operations} | set(self._endpoints)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            raise HTTPException(405, headers={"Allow": self._allow})
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)


def json_of(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(body), status, headers, JSON)


def _endpoint(operation: Operation, keyring: KeyRing) -> Callable[[Request], Awaitable[Response]]:
    handle = operation.handle
    assert handle is not None
    reader = Reader(operation.body) if operation.body is not None else None

    async def endpoint(request: Request) -> Response:
        key = await partner_of(keyring, request.headers.get("authorization"))
        needs(key, operation.scope)
        query = _query(operation.query, request)
        body = None
        if reader is not None:
            read_form(request, JSON)
            body = in_utc(reader.read(await body_of(request.receive)))
        answer = await handle(Call(request, key, query, body))
        return _unless_known(request, answer) if operation.kept else answer

    return endpoint


def read_form(request: Request, form: str) -> None:
    """Raises WrongForm when the body comes in another form than `form`, compressed, or in another alphabet than UTF-8."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise WrongForm("Compressed bodies are not read here; send it plain.")
    said = request.headers.get("content-type")
    kind, _, parameters = (said or form).lower().partition(";")
    if kind.strip() != form or parameters.strip() not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise WrongForm(f'Send this body with the header "Content-Type: {form}", in UTF-8.')


def _query(shape: type[msgspec.Struct] | None, request: Request) -> Any:
    """What stands behind the question mark. Raises BadInput for what is unknown, given twice or of another form."""
    given: dict[str, str] = {}
    known = {field.encode_name for field in msgspec.structs.fields(shape)} if shape is not None else set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise BadInput(
                "This address takes "
                + (f"these in its query: {', '.join(sorted(known))}." if known else "nothing in its query.")
            )
        if name in given:
            raise BadInput(f'"{name}" is given twice in the query; it is not clear which one is meant.')
        if "\0" in value:
            raise BadInput(f'"{name}" in the query contains the character U+0000.')
        given[name] = value
    if shape is None:
        return None
    try:
        asked = msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as wrong:
        raise BadInput(_wrong_query(str(wrong), given)) from None
    for each in msgspec.structs.fields(shape):  # what would be taken for nothing, or for seconds since 1970
        name, value = each.encode_name, getattr(asked, each.name)
        if name in given and (value is None or (isinstance(value, datetime) and "T" not in given[name].upper())):
            raise BadInput(_wrong_query(f"{'datetime ' if value is not None else ''}`$.{name}`", given))
    return in_utc(asked)


def in_utc(asked: Shape) -> Shape:
    """The same with its times in UTC: the database does not know every zone that may be written. Raises BadInput."""
    for each in msgspec.structs.fields(asked):
        value = getattr(asked, each.name)
        if isinstance(value, datetime):
            try:
                setattr(asked, each.name, value.astimezone(UTC))
            except OverflowError:
                raise BadInput(f'"{each.encode_name}" is a time that no calendar has.') from None
    return asked


def _wrong_query(said: str, given: Mapping[str, str]) -> str:
    """Which of the query's values is meant, and how it is written; never the value itself."""
    if "missing required field" in said:
        return f'"{said.split("`")[1]}" is missing in the query.'
    name = said.rpartition("`$.")[2].rstrip("`")
    if name not in given:
        return "The query cannot be read."
    if "timezone" in said or "datetime" in said:
        return f'"{name}" is a time with its zone, such as 2026-11-22T08:00:00Z; in a URL write a plus sign as %2B.'
    if "date" in said:
        return f'"{name}" is a day, such as 2026-11-22.'
    if "int" in said:
        return f'"{name}" is a whole number within its limits.'
    return f'"{name}" in the query is not one of the values that this address knows.'


def _unless_known(request: Request, answer: Response) -> Response:
    """304 without a body when the caller has this very answer already (RFC 9110 §13.1.2)."""
    if answer.status_code != 200:
        return answer
    tag = f'"{blake2b(bytes(answer.body), digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    asked = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in asked or asked == ["*"]:
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer
