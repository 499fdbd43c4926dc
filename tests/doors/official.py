"""Runs clients that others wrote, unmodified, in the environment that `make test` makes for them."""

import asyncio
import json
from pathlib import Path
from typing import Any

CLIENT = Path(".venv/clients/bin/python")


async def run_client(script: str, *arguments: str) -> dict[str, Any]:
    """What a script of tests/doors/clients printed, run in the clients' own environment (`make test` makes it)."""
    assert CLIENT.exists(), "run: make .venv/clients/installed"
    process = await asyncio.create_subprocess_exec(
        CLIENT, f"tests/doors/clients/{script}.py", *arguments, stdout=-1, stderr=-1
    )
    said, complained = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complained.decode()[-2000:]
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told
