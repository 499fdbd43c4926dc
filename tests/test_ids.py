"""Ids say what they are, sort by time and carry their cell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refill.errors import NotFound
from refill.ids import CELLS, base32, cell_of, cell_of_id, make_id

CHANCE = 2**60 - 1


def test_an_id_is_what_it_is_for_ever() -> None:
    assert make_id("tu", 4095, 1_795_312_800_000, 1) == "tu_1m80fpm803zz000000000001"


@given(st.integers(0, CELLS - 1), st.integers(0, 2**45 - 1), st.integers(0, CHANCE))
def test_an_id_carries_its_cell(cell: int, at_ms: int, chance: int) -> None:
    id_ = make_id("tu", cell, at_ms, chance)
    assert len(id_) == 27
    assert cell_of_id(id_) == cell


@given(st.integers(0, 2**45 - 2), st.integers(1, 10**6), st.integers(0, CHANCE), st.integers(0, CHANCE))
def test_later_ids_sort_later(at_ms: int, later_ms: int, one: int, other: int) -> None:
    at_ms = min(at_ms, 2**45 - 1 - later_ms)
    assert make_id("tu", 4095, at_ms, one) < make_id("tu", 0, at_ms + later_ms, other)


NOT_OURS = [
    "",
    "tu",
    "tu_",
    "tu_123",
    "TU_1M80FPM803ZZ000000000001",
    "tu_1m80fpm803zz0000000000011",
    "tu_1m80fpm80!zz000000000001",
    "1m80fpm803zz000000000001",
    "tu_1m80fpm80iiz000000000001",
    "北京" * 9,
    "tu_" + "\x00" * 24,
]


@pytest.mark.parametrize("text", NOT_OURS)
def test_a_text_that_is_no_id_names_nothing(text: str) -> None:
    with pytest.raises(NotFound):
        cell_of_id(text)


def test_names_are_spread_over_all_cells_and_stay_there() -> None:
    assert cell_of("clearing:alipay/CNY") == 1816
    assert len({cell_of(f"name {n}") for n in range(60_000)}) == CELLS


def test_base_32_keeps_the_lowest_letters() -> None:
    assert base32(33, 2) == "11"
    assert base32(32 * 32 + 1, 2) == "01"
