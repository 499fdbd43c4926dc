"""The whole table of the partner API from outside: schemathesis finds no fault, no partner sees what is another's."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors.api import Api, api_on, wish

from refill import uploads
from refill.channels.machines.openapi import field_of, parameters_of
from refill.channels.machines.operation import Operation
from refill.channels.partner_api.app import WrongAddress, WrongMethod
from refill.channels.partner_api.problems import ADVICE, catalogue
from refill.channels.partner_api.table import operations
from refill.channels.partner_api.words import FIELDS

HERE = Path(__file__).parent
NOTHING: Any = None
TABLE = operations(NOTHING, NOTHING)
SCOPES = " ".join(sorted({each.scope for each in TABLE}))


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def test_schemathesis_finds_no_fault(api: Api, tmp_path: Path) -> None:
    _, bearer = await api.new_partner("Bell", "1000.00 CNY", scopes=SCOPES)
    here = f"http://127.0.0.1:{api.port}"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run"),
        *(f"{here}/openapi.json", "--url", here, "-H", f"Authorization: Bearer {bearer}"),
        *(
            "--phases",
            "examples,coverage,fuzzing,stateful",
            "--continue-on-failure",
            "--seed",
            "1",
            "--warnings",
            "off",
        ),
    ]
    schemathesis = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await schemathesis.communicate())[0].decode()
    assert schemathesis.returncode == 0, said[-12_000:]
    tested = re.search(r"Tested: (\d+)", said)
    assert tested is not None and int(tested[1]) == len(TABLE), said[-2_000:]
    assert int(api.app.topups.singles.poisoned) == 0


# ------------------------------------------------------------------ nobody sees what is another's


class Belongings:
    """What a partner has of everything that an address can name, made through the doors."""

    def __init__(self, api: Api, bearer: str) -> None:
        self.api, self.bearer = api, bearer
        self.ids: dict[str, str] = {}

    async def acquire(self) -> "Belongings":
        sent = {"authorization": f"Bearer {self.bearer}"}
        placed = await self.api.post("/v1/topups", wish(amount="10.00", reference="mine"), **sent)
        self.ids["topups"] = placed.json()["id"]
        file = b"msisdn,amount,currency\n+8613800138000,10.00,CNY\n"
        self.ids["files"] = (await self.api.post("/v1/topups/csv", file, content_type="text/csv", **sent)).json()["id"]
        await uploads.Worker(self.api.shop.trade).tick()
        hook = {"url": "https://93.184.215.14/refill", "events": ["topup.succeeded"]}
        self.ids["webhooks"] = (await self.api.post("/v1/webhooks", hook, **sent)).json()["id"]
        return self

    def path(self, operation: Operation, ids: dict[str, str] | None = None) -> str:
        """The address of an operation with our ids in it."""
        named = (ids or self.ids).get(operation.group, "nothing")
        path = operation.path
        for n, name in enumerate(parameters_of(operation)):
            path = path.replace(f"{{{name}}}", named if n == 0 else "ev_nothing")
        return path


NOT_ASKED_FOR = {"getReversal"}
OF_NOBODY = {"getNumber", "getSubscriber"}  # what a number tells belongs to no partner
OWNED = [each for each in TABLE if parameters_of(each) and each.name not in OF_NOBODY]


async def test_what_belongs_to_another_partner_is_not_there_at_any_address(api: Api) -> None:
    mine = await Belongings(api, (await api.new_partner("Acme & Co", "100.00 CNY", scopes=SCOPES))[1]).acquire()
    _, bearer = await api.new_partner("Bell", "100.00 CNY", scopes=SCOPES)
    assert {each.group for each in OWNED} <= set(mine.ids), "say in Belongings how one gets such a thing"
    nobodys = {group: id_[:-3] + ("zzz" if not id_.endswith("zzz") else "yyy") for group, id_ in mine.ids.items()}
    for operation in OWNED:
        answers = []
        for path in (mine.path(operation), mine.path(operation, nobodys)):
            body = operation.example.get("body", {})
            answers.append(
                await api.client.request(
                    operation.method,
                    path,
                    headers={"authorization": f"Bearer {bearer}", "content-type": "application/json"},
                    content=json.dumps(body).encode() if operation.body else b"",
                )
            )
        theirs, none = answers
        assert (theirs.status_code, none.status_code) == (404, 404), (operation.name, theirs.text, none.text)
        assert theirs.json() == none.json(), operation.name
    # What is mine is still mine, and untouched.
    for operation in OWNED:
        if operation.method == "GET" and len(parameters_of(operation)) == 1 and operation.name not in NOT_ASKED_FOR:
            assert (await api.get(mine.path(operation), mine.bearer)).status_code == 200, operation.name


async def test_no_list_names_what_is_another_partners(api: Api) -> None:
    mine = await Belongings(api, (await api.new_partner("Acme & Co", "100.00 CNY", scopes=SCOPES))[1]).acquire()
    _, bearer = await api.new_partner("Bell", "100.00 CNY", scopes=SCOPES)
    everything = [*mine.ids.values(), "mine"]
    for operation in TABLE:
        if operation.method == "GET" and not parameters_of(operation):
            answer = await api.get(operation.path, bearer)
            assert answer.status_code == 200, operation.name
            assert [each for each in everything if each in answer.text] == [], operation.name
    for path in (f"/v1/transactions?topup={mine.ids['topups']}", "/v1/topups?reference=mine"):
        assert mine.ids["topups"] not in (await api.get(path, bearer)).text


async def test_every_address_asks_for_a_key_and_for_its_scope(api: Api) -> None:
    _, powerless = await api.new_partner("Nobody", "1.00 CNY", scopes="none")
    for operation in TABLE:
        path = re.sub(r"{\w+}", "x", operation.path)
        headers = {"content-type": operation.form or "application/json"}
        body = b"{}" if operation.body else b""
        keyless = await api.client.request(operation.method, path, headers=headers, content=body)
        assert (keyless.status_code, keyless.json()["code"]) == (401, "no_key"), operation.name
        headers["authorization"] = f"Bearer {powerless}"
        refused = await api.client.request(operation.method, path, headers=headers, content=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed"), operation.name
        assert f'"{operation.scope}"' in refused.json()["detail"]


async def test_the_lane_serves_what_the_table_says_it_does(api: Api) -> None:
    assert set(api.app.hot) == {each.path for each in TABLE if each.handle is None}


async def test_other_methods_hear_which_there_are(api: Api) -> None:
    for path, allow in (("/v1/topups", "GET, HEAD, POST"), ("/v1/topups/bulk", "POST"), ("/v1/topups/csv", "POST")):
        answer = await api.client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)


# ------------------------------------------------------------------ everything has its words


async def test_every_field_has_its_words_in_both_languages(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.1"
    missing = []
    for shape, schema in document["components"]["schemas"].items():
        for name in schema.get("properties", {}):
            says = field_of(FIELDS, shape, name).says
            if not (says.en and says.zh):
                missing.append(f"{shape}.{name}")
    for operation in TABLE:
        for parameter in document["paths"][operation.path][operation.method.lower()].get("parameters", ()):
            if not parameter["description"]:
                missing.append(f"{operation.name}: {parameter['name']}")
        if not (operation.says.en and operation.says.zh):
            missing.append(operation.name)
        missing += [f"{operation.name}: {status}" for status, answer in operation.answers.items() if not answer.says.zh]
    assert missing == [], "say in words.py what these mean"


def test_every_code_has_advice_in_both_languages() -> None:
    codes = catalogue(TABLE, WrongAddress, WrongMethod)
    assert set(codes) - set(ADVICE) == set(), "say in problems.py what to do about these"
    assert set(ADVICE) - set(codes) == set(), "nobody can meet these"
    for refusal in codes.values():
        for words in (refusal.title, refusal.cause, refusal.next):
            assert words.en and words.zh, refusal.code


def test_operations_have_names_of_their_own() -> None:
    assert len({each.name for each in TABLE}) == len(TABLE)
    assert len({(each.method, each.path) for each in TABLE}) == len(TABLE)
