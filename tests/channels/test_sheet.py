"""A file read in pieces is the file read whole; whatever bytes come, it is rows or a refusal."""

from collections.abc import Iterator
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from refill.channels.partner_api.sheet import Sheet, result_line
from refill.channels.partner_api.topups import TopUpAsk
from refill.errors import RefillError
from refill.money import money
from refill.numbers import msisdn
from refill.topup import Ask

HEAD = b"msisdn,amount,currency,reference\n"
cells = st.sampled_from(["+8613800138000", "50.00", "CNY", "", '"a,b"', '"', "充值", "\ufeff", "\0", "x" * 50, "=1"])
lines = st.lists(cells, min_size=1, max_size=5).map(",".join)
files = st.one_of(
    st.binary(max_size=300),
    st.lists(lines, max_size=8).map(lambda rows: HEAD + "\r\n".join(rows).encode()),
    st.lists(lines, max_size=8).map(lambda rows: HEAD + "\n".join(rows).encode("gbk", "ignore")),
)


def ask_of(row: TopUpAsk, line: int) -> Ask:
    return Ask(f"tu_{line}", "partner:x", "partner_api", msisdn(row.msisdn), "n", money("1.00 CNY"))


def read(pieces: Iterator[bytes]) -> object:
    """The rows, or the refusal in its words."""
    sheet = Sheet(ask_of)
    try:
        for piece in pieces:
            sheet.feed(piece)
        return sheet.end(), sheet.content
    except RefillError as refused:
        return refused.code, str(refused)


def cut(file: bytes, sizes: list[int]) -> Iterator[bytes]:
    start, size = 0, cycle(sizes)
    while start < len(file):
        step = next(size)
        yield file[start : start + step]
        start += step


@given(files, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_pieces_of_any_size_are_the_same_file(file: bytes, sizes: list[int]) -> None:
    assert read(cut(file, sizes)) == read(iter([file]))


def test_no_cell_of_a_result_is_calculated_with() -> None:
    row = result_line({"reference": "=cmd()", "detail": "+1+1", "msisdn": "+8613800138000", "price": "-9.96"})
    assert row[1:3] == ["'=cmd()", "+8613800138000"]
    assert row[-1] == "'+1+1"
