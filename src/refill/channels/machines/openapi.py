"""OpenAPI 3.1 from the operations: the schemas are msgspec's own, so what is described is what is read and written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from refill.channels.machines.body import Gone, TooLarge, WrongForm
from refill.channels.machines.json import NotJson
from refill.channels.machines.keys import NoKey
from refill.channels.machines.lane import Broken
from refill.channels.machines.operation import CSV, JSON, NO_WORDS, Operation, Words
from refill.channels.machines.problem import Problem
from refill.errors import BadInput, Busy, NotAllowed, RefillError

PROBLEM = "application/problem+json"
_AT = "#/components/schemas/"
_IN_BRACES = re.compile(r"{([a-z_]+)}")


class Field(NamedTuple):
    """What a field of that name means, and more of its schema than its type tells."""

    says: Words
    schema: Mapping[str, Any] = {}


_NO_WORDS = Field(NO_WORDS)
Fields = Mapping[str, Field]  # by "Struct.field", or by "field" for all structs that have one of that name


def refusals_of(operation: Operation) -> list[type[RefillError]]:
    """Every refusal that a caller of this operation may meet, the lowest status first."""
    every: list[type[RefillError]] = [*operation.errors, NoKey, NotAllowed, Broken, Busy]
    if operation.body is not None or operation.form is not None:
        every += [Gone, TooLarge, WrongForm, BadInput]
    if operation.body is not None:
        every.append(NotJson)
    if operation.handle is not None:
        every.append(BadInput)  # a query that is not known here
    return sorted(set(every), key=lambda error: (error.status, error.code))


def parameters_of(operation: Operation) -> list[str]:
    """The names in the address, in their order."""
    return _IN_BRACES.findall(operation.path)


def field_of(fields: Fields, shape: str, name: str) -> Field:
    """What is known of a field; a test sees that none stays without words."""
    return fields.get(f"{shape}.{name}") or fields.get(name) or _NO_WORDS


class Event(NamedTuple):
    """What we post to others: its name, its shape, and when it is sent."""

    name: str
    shape: type[msgspec.Struct]
    says: Words


def document(
    operations: Sequence[Operation],
    fields: Fields,
    *,
    title: str,
    version: str,
    says: str,
    server: str,
    events: Sequence[Event] = (),
) -> dict[str, Any]:
    """The whole OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1)."""
    shapes = [*shapes_of(operations), *dict.fromkeys(event.shape for event in events)]
    schemas = schemas_of(shapes, fields)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, fields)
    groups = list(dict.fromkeys(operation.group for operation in operations))
    return {
        "openapi": "3.1.1",
        "info": {"title": title, "version": version, "description": says},
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "tags": [{"name": group} for group in groups],
        "paths": paths,
        "webhooks": {event.name: {"post": _posted(event)} for event in events},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of yours: rk_live_…"},
            },
        },
    }


def _posted(event: Event) -> dict[str, Any]:
    """A request that we send, as Standard Webhooks 1.0.0 signs it."""
    signed = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": event.name,
        "tags": ["webhooks"],
        "summary": event.says.en,
        "x-summary-zh": event.says.zh,
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in signed
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": {"$ref": _AT + event.shape.__name__}}}},
        "responses": {"2XX": {"description": "You have it. Anything else is tried again."}},
    }


def shapes_of(operations: Iterable[Operation]) -> list[type[msgspec.Struct]]:
    """The Structs that are sent or answered, each once."""
    found: dict[type[msgspec.Struct], None] = {}
    for operation in operations:
        if operation.body is not None:
            found[operation.body] = None
        for answer in operation.answers.values():
            found.update(dict.fromkeys(answer.shapes))
    return [*found, Problem]


def schemas_of(shapes: Sequence[type[msgspec.Struct]], fields: Fields) -> dict[str, Any]:
    """JSON Schemas by name, those that they refer to among them; every field with its words."""
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_AT + "{name}")
    for shape, schema in schemas.items():
        for name, told in schema.get("properties", {}).items():
            field = field_of(fields, shape, name)
            if field.says.en:
                told.setdefault("description", field.says.en)
            _say(told, field.schema)
            if told.get("default", 0) is None or told.get("default") == "":
                del told["default"]  # left out when empty: not a value that is assumed
    return schemas


def _say(told: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Adds what is known of a value to that branch of its type which is no null."""
    if "anyOf" in told:
        for branch in told["anyOf"]:
            if branch.get("type") != "null" and "$ref" not in branch:
                branch.update(more)
    elif "$ref" not in told:
        told.update(more)


def _operation(operation: Operation, fields: Fields) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.says.en,
        "description": f"{operation.more.en}\n\nScope: `{operation.scope}`".strip(),
        "parameters": [*_in_path(operation, fields), *_in_query(operation, fields), *_in_headers(operation, fields)],
        "responses": _responses(operation),
        "x-scope": operation.scope,
        "x-summary-zh": operation.says.zh,
    }
    example = operation.example.get("body")
    if operation.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": _AT + operation.body.__name__}}
        if example is not None:
            content["example"] = example
        described["requestBody"] = {"required": True, "content": {JSON: content}}
    elif operation.form is not None:
        described["requestBody"] = {
            "required": True,
            "content": {operation.form: {"schema": {"type": "string"}, "example": example}},
        }
    return {name: value for name, value in described.items() if value not in ([], None)}


def _in_path(operation: Operation, fields: Fields) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": field_of(fields, "path", name).says.en,
            "schema": {"type": "string", **field_of(fields, "path", name).schema},
        }
        for name in parameters_of(operation)
    ]


def _in_query(operation: Operation, fields: Fields) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = msgspec.json.schema(operation.query)
    told = next(iter(schema["$defs"].values()))
    described = []
    for name, kind in told["properties"].items():
        field = field_of(fields, operation.query.__name__, name)
        if "anyOf" in kind:  # left out is all that null means in a query
            (kind,) = [branch for branch in kind["anyOf"] if branch.get("type") != "null"]
        kind = {**kind, **field.schema}
        if kind.get("default", 0) is None:
            del kind["default"]
        described.append(
            {
                "name": name,
                "in": "query",
                "required": name in told.get("required", ()),
                "description": field.says.en,
                "schema": kind,
            }
        )
    return described


def _in_headers(operation: Operation, fields: Fields) -> list[dict[str, Any]]:
    named = dict(operation.headers)
    if operation.kept:
        named["If-None-Match"] = Words("The ETag of an answer that you have.", "你已有的回答的 ETag。")
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": says.en,
            "schema": {"type": "string", **(fields[name].schema if name in fields else {})},
        }
        for name, says in named.items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for status, answer in sorted(operation.answers.items()):
        schemas = [{"$ref": _AT + shape.__name__} for shape in answer.shapes]
        schema: dict[str, Any] = (
            {"anyOf": schemas} if len(schemas) > 1 else schemas[0] if schemas else {"type": "string"}
        )
        told[str(status)] = {"description": answer.says.en}
        if status == 204:
            continue
        told[str(status)]["content"] = {answer.form: {"schema": schema}}
        for form in answer.or_forms:
            told[str(status)]["content"][form] = {"schema": {"type": "string"} if form == CSV else {}}
        if operation.leads and 200 <= status < 300:
            told[str(status)]["links"] = {
                name: {"operationId": name, "parameters": dict(parameters)}
                for name, parameters in operation.leads.items()
            }
        if answer.headers:
            told[str(status)]["headers"] = {
                name: {"description": says.en, "schema": {"type": "string"}} for name, says in answer.headers.items()
            }
    if operation.kept:
        told["304"] = {"description": "You have this answer already."}
    by_status: dict[int, list[type[RefillError]]] = {}
    for error in refusals_of(operation):
        by_status.setdefault(error.status, []).append(error)
    for code, errors in by_status.items():
        codes = list(dict.fromkeys(error.code for error in errors))
        problem = {"allOf": [{"$ref": f"{_AT}Problem"}, {"properties": {"code": {"enum": codes}}}]}
        said = {
            "description": f"{HTTPStatus(code).phrase}: {', '.join(codes)}",
            "content": {PROBLEM: {"schema": problem}},
        }
        if str(code) in told:  # a status of ours that a refusal shares
            told[str(code)]["content"].update(said["content"])
        else:
            told[str(code)] = said
    return told
