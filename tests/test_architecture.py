"""The house keeps its shape: imports point down, and clock, dice and sockets come in as arguments."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "refill"
FILES = sorted(SOURCE.rglob("*.py"))

# Where the real clock, dice and network are made, or imitated from a seed, or measured.
WORLDLY = {"app.py", "db", "simulators", "simulate", "bench"}
OF_THE_WORLD = re.compile(
    r"datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today|time\.(time|time_ns|sleep)|random\..+|socket\..+"
)
OF_THE_WORLD_IN_SQL = re.compile(
    r"\b(now|random|clock_timestamp|statement_timestamp|gen_random_uuid|uuidv7)\s*\(\s*\)|\bcurrent_(timestamp|date|time)\b",
    re.IGNORECASE,
)


def relative(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def is_spine(file: Path) -> bool:
    return file.relative_to(SOURCE).parts[0] not in WORLDLY


def test_imports_point_down() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    read = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert read.returncode == 0, read.stdout + read.stderr


def test_every_folder_is_a_package_or_the_contracts_would_not_see_it() -> None:
    folders = {file.parent for file in FILES}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("file", [file for file in FILES if is_spine(file)], ids=relative)
def test_time_chance_and_network_are_arguments(file: Path) -> None:
    tree = ast.parse(file.read_text())
    found = [f"line {line}: {name}" for line, name in calls(tree) if OF_THE_WORLD.fullmatch(name)]
    assert found == [], "take it from World"


@pytest.mark.parametrize("file", [file for file in FILES if is_spine(file)], ids=relative)
def test_sql_takes_time_and_ids_as_parameters(file: Path) -> None:
    tree = ast.parse(file.read_text())
    found = [f"line {line}" for line, text in sql_texts(tree) if OF_THE_WORLD_IN_SQL.search(text)]
    assert found == [], "pass world.db_now() or an id as a parameter"


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every call with its full name: `from time import time as now; now()` is a call of `time.time`."""
    meaning: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                meaning[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            words = ast.unparse(node.func).split(".")
            if words[0] in meaning:
                yield node.lineno, ".".join([meaning[words[0]], *words[1:]])


def sql_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text that reads like a statement, without its comments; docstrings are prose."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            statement = re.sub(r"--.*", "", node.value)
            if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER)\b", statement):
                yield node.lineno, statement


def test_the_scan_sees_through_other_names() -> None:
    story = (
        "from time import time as t\nimport random as r\nimport datetime\nt()\nr.choice([1])\ndatetime.datetime.now()"
    )
    assert [name for _, name in calls(ast.parse(story)) if OF_THE_WORLD.fullmatch(name)] == [
        "time.time",
        "random.choice",
        "datetime.datetime.now",
    ]
    assert [line for line, text in sql_texts(ast.parse('"""SELECT now()"""\nx = "SELECT now()"'))] == [2]
