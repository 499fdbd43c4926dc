"""The tables in the documentation are those of the code."""

import pytest

from docs import generated


@pytest.mark.parametrize("name", generated.TABLES)
def test_a_table_says_what_the_code_says(name: str) -> None:
    kept = (generated.DOCS / name).read_text("utf-8")
    assert kept == generated.page(name), "run: .venv/bin/python docs/generated.py"


def test_every_legal_move_has_its_row() -> None:
    rows = generated.transitions()
    assert [name for name in generated.EDGES if f"| `{name}` |" not in rows] == []


def test_every_kind_of_case_tells_staff_what_to_do() -> None:
    assert set(generated.WHAT_A_CASE_MEANS) == set(generated.cases.AGE_LIMIT)
