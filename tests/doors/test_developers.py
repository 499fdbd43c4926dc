"""The developers' pages without a browser: whole, strict about what they load, and their examples run as they stand."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.doors.api import Api, api_on

from refill.channels.machines.openapi import parameters_of
from refill.channels.partner_api.app import WrongAddress, WrongMethod
from refill.channels.partner_api.developers import curl, python
from refill.channels.partner_api.problems import catalogue
from refill.channels.partner_api.table import NUMBER, operations

NOTHING: Any = None
TABLE = operations(NOTHING, NOTHING)
OURS = "+8613800138000"  # the shop's subscriber, where the demonstration has NUMBER


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def test_every_operation_and_every_code_is_on_the_page(api: Api) -> None:
    for language, title in (("zh-CN,zh;q=0.9", "开发者文档"), ("fr, en", "For developers")):
        answer = await api.client.get("/developers", headers={"accept-language": language})
        assert answer.status_code == 200
        assert f"<title>{title}" in answer.text
        assert [each.name for each in TABLE if f'id="{each.name}"' not in answer.text] == []
        links = set(re.findall(r'href="/problems/(\w+)\?', answer.text))
        assert links == set(catalogue(TABLE, WrongAddress, WrongMethod))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert re.findall(r'(?:src|href)="(?:https?:)?//[^"]*"', answer.text) == []  # nothing comes from elsewhere


async def test_the_type_of_a_problem_is_a_page_about_it(api: Api) -> None:
    problem = (await api.get("/v1/topups/tu_nothing")).json()
    page = await api.client.get(problem["type"], params={"lang": "en"})
    assert page.status_code == 200
    assert problem["code"] in page.text and "What to do next" in page.text
    for code in catalogue(TABLE, WrongAddress, WrongMethod):
        assert (await api.client.get(f"/problems/{code}")).status_code == 200
    assert (await api.client.get("/problems/nonsense")).status_code == 404
    assert (await api.client.get("/developers/..%2Fapp.py")).status_code == 404
    assert (await api.client.get("/developers/developers.css")).headers["content-type"].startswith("text/css")


async def test_examples_run_as_they_stand(api: Api) -> None:
    """Those that need no id of an earlier answer, each as a command and as a program."""
    scopes = " ".join({each.scope for each in TABLE})
    _, key = await api.new_partner("Reader", "1000.00 CNY", scopes=scopes)
    here = f"http://127.0.0.1:{api.port}"
    stranger = {"createWebhook", "redeemVoucher"}  # at nobody's address, with nobody's card
    runs = []
    for operation in TABLE:
        if [name for name in parameters_of(operation) if name != "msisdn"] or operation.name in stranger:
            continue
        command = (
            curl(operation, here).replace(NUMBER, OURS).replace(NUMBER.replace("+", "%2B"), OURS) + " --fail-with-body"
        )
        program = python(operation, here).replace(NUMBER, OURS).replace(NUMBER.replace("+", "%2B"), OURS)
        runs += [(operation.name, ("bash", "-c", command)), (operation.name, (sys.executable, "-c", program))]
    assert len(runs) > 15
    for start in range(0, len(runs), 4):
        await asyncio.gather(*(_runs(name, argv, key) for name, argv in runs[start : start + 4]))


async def _runs(name: str, argv: tuple[str, ...], key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={"KEY": key, "PATH": "/usr/bin:/bin", "no_proxy": "*"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, f"{name}: {argv[-1]}\n{said.decode()}{wrong.decode()}"
    assert said
