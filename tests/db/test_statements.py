"""SQL is code: every statement is prepared against the migrated schema, described in a sentence, and uses what it takes."""

import pkgutil
import re
from datetime import UTC, datetime
from importlib import import_module

import psycopg
import pytest

import refill.app
from refill.db import Statement, array
from refill.db.statement import array as array_of

# Django's models need configured settings, and its pages are no part of the spine.
ELSEWHERE = re.compile(r"\.(models|migrations|__main__|people|portal|counter|kiosk|backoffice|bench|simulate)(\.|$)")


def every() -> list[Statement]:
    for module in pkgutil.walk_packages(refill.__path__, "refill."):
        if not ELSEWHERE.search(module.name):
            import_module(module.name)
    return list(Statement.every)


STATEMENTS = every()
NAMED = [pytest.param(statement, id=" ".join(statement.text.split())[:60]) for statement in STATEMENTS]
# Statements that must have run before another can be understood.
BEFORE = [statement for statement in STATEMENTS if statement.text.startswith("CREATE TEMPORARY")]


def test_the_statements_of_the_whole_product_are_here() -> None:
    assert len(STATEMENTS) > 50


@pytest.mark.parametrize("statement", NAMED)
def test_a_statement_fits_the_schema(statement: Statement, worker_database: object) -> None:
    with psycopg.connect(worker_database.dsn) as connection:  # type: ignore[attr-defined]
        for first in BEFORE:
            if first is not statement:
                connection.execute(first.text.encode())
        # As the driver does it, which also knows what PREPARE does not: utility statements.
        answer = connection.pgconn.prepare(b"", statement.text.encode())
        assert answer.status == psycopg.pq.ExecStatus.COMMAND_OK, answer.error_message.decode()
        described = connection.pgconn.describe_prepared(b"")
        assert described.nparams == len(statement.names)
        connection.rollback()


@pytest.mark.parametrize("statement", NAMED)
def test_a_statement_of_some_length_says_in_a_sentence_what_it_is_for(statement: Statement) -> None:
    if statement.text.count("\n") >= 2:
        first = statement.text.splitlines()[0].strip()
        assert re.match(r"-- [A-Z].{8,}", first), "describe it above its first line"
        assert len(first.split()) >= 3


@pytest.mark.parametrize("statement", NAMED)
def test_a_statement_uses_every_parameter_that_it_takes(statement: Statement) -> None:
    code = re.sub(r"--.*", "", statement.text)
    assert {f"${n}" for n in range(1, len(statement.names) + 1)} == set(re.findall(r"\$[0-9]+", code))
    assert not re.search(r"(?<![:\w]):[a-z_]+\b", code)


ITS_OWN = re.compile(r"\b(now|clock_timestamp|random|gen_random_uuid|nextval)\s*\(|current_timestamp")


def test_no_statement_has_a_clock_or_dice_of_its_own() -> None:
    """Else virtual time would not rule it, and a second run would not find what the first one wrote (decision 8)."""
    with_its_own = [one.text for one in STATEMENTS if ITS_OWN.search(re.sub(r"--.*", "", one.text))]
    # Only the composition root reads the database's clock, to make it an argument of everything else.
    assert with_its_own == [refill.app.CLOCK.text]


# ------------------------------------------------------------------ how a statement is written


def test_parameters_are_named_once_and_casts_are_left_alone() -> None:
    statement = Statement("SELECT :a::int, :b, :a, 'x:y'::text, now()::date  -- at 10:30")
    Statement.every.remove(statement)
    assert statement.text.startswith("SELECT $1::int, $2, $1, 'x:y'::text")
    assert statement.names == ("a", "b")
    assert statement.values({"b": 2, "a": 1}) == [1, 2]


@pytest.mark.parametrize("given", [{}, {"a": 1, "b": 2}])
def test_a_parameter_too_few_or_too_many_is_an_error_of_ours(given: dict[str, int]) -> None:
    statement = Statement("SELECT :a")
    Statement.every.remove(statement)
    with pytest.raises(TypeError, match="takes"):
        statement.values(given)


AT = datetime(2026, 11, 22, 2, 0, 0, 123456, tzinfo=UTC)
ARRAYS: list[tuple[str, list[object]]] = [
    ("bigint", []),
    ("bigint", [1, -2, 2**62]),
    ("bigint", [1, None]),
    ("text", ["tu_1", "held:acme/CNY"]),
    ("text", ["", "a"]),
    ("text", [""]),
    ("text", ["a,b", "c"]),
    ("text", [",", ",,"]),
    ("text", ["null", "NULL", "Null"]),
    ("text", ['say "yes"', "back\\slash", "{brace}", "two words", "新\n"]),
    ("text", [None, "a"]),
    ("boolean", [True, False, None]),
    ("timestamptz", [AT, None]),
    ("bytea", [b"\x00\xff", None]),
]


@pytest.mark.parametrize(("kind", "values"), ARRAYS, ids=lambda value: str(value)[:30])
def test_an_array_arrives_as_it_was_written(kind: str, values: list[object], worker_database: object) -> None:
    with psycopg.connect(worker_database.dsn) as connection:  # type: ignore[attr-defined]
        row = connection.execute(f"SELECT %s::{kind}[]".encode(), [array(values)]).fetchone()
        assert row is not None and row[0] == values


def test_what_cannot_stand_in_an_array_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError, match="float"):
        array_of([1.5])
