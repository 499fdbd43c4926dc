"""A CSV file of top-ups read as it arrives: line by line, strictly, nothing guessed, nothing kept but its rows."""

import codecs
import csv
import hashlib
from collections.abc import Callable

from refill.channels.machines.body import too_large
from refill.channels.partner_api.topups import TopUpAsk
from refill.errors import BadInput, RefillError
from refill.topup import Ask
from refill.uploads import PART_ROWS, Part, refused_row

ROWS_LIMIT = 100_000
BYTES_LIMIT = 16_000_000
LINE_LIMIT = 2_000  # characters: no row of ours comes near
NEEDED = ("msisdn", "amount", "currency")
COLUMNS = (*NEEDED, "reference", "operator", "product", "max_price")


class BadFile(BadInput):
    """The file as a whole cannot be read; no row of it was taken."""

    code = "bad_file"


class Sheet:
    """Takes a file in pieces of any size; `parts` are its rows when `end` was told.

    `ask_of(row, line)` makes an ask of a row. What it refuses is that row's refusal and disturbs no other; what makes the
    rest of the file doubtful (another alphabet, an open quote, columns that are not known) refuses the file: BadFile.
    """

    def __init__(self, ask_of: Callable[[TopUpAsk, int], Ask]) -> None:
        self._ask_of = ask_of
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._hash = hashlib.blake2b(digest_size=32)
        self._rest = ""
        self._columns: list[str] = []
        self._line = 0
        self._rows = 0
        self._bytes = 0
        self.parts: list[Part] = []

    @property
    def content(self) -> str:
        """A hash of the file."""
        return self._hash.hexdigest()

    def feed(self, piece: bytes) -> None:
        """Raises BadFile, TooLarge."""
        self._bytes += len(piece)
        if self._bytes > BYTES_LIMIT:
            raise too_large(BYTES_LIMIT)
        self._hash.update(piece)
        self._take_lines(self._text(piece))

    def end(self) -> list[Part]:
        """The rows. Raises BadFile for a file without any."""
        self._text(b"", final=True)
        if self._rest:
            self._take(self._rest)
        if not self._columns:
            raise BadFile(f"The file is empty; its first line names the columns: {', '.join(NEEDED)}.")
        if not self.parts:
            raise BadFile("The file has no rows behind its first line.")
        return self.parts

    def _text(self, piece: bytes, *, final: bool = False) -> str:
        try:
            return self._decode(piece, final)
        except UnicodeDecodeError as wrong:
            self._take_lines(wrong.object[: wrong.start].decode())  # what is wrong before it is told first
            raise BadFile(
                f'The file is not UTF-8 in line {self._line + 1}; is it GBK? Save it as "CSV UTF-8" and send it again.'
            ) from None

    def _take_lines(self, text: str) -> None:
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            self._take(line)
        if len(self._rest) > LINE_LIMIT:
            self._take(self._rest)

    def _take(self, line: str) -> None:
        self._line += 1
        if len(line) > LINE_LIMIT:
            raise BadFile(f"Line {self._line} is longer than {LINE_LIMIT:,} characters.")
        line = line.removesuffix("\r")
        if self._line == 1:
            line = line.removeprefix("\ufeff")
        if not line.strip():
            if self._line > 2 * ROWS_LIMIT:
                raise BadFile("The file has more empty lines than rows are allowed.")
            return
        cells = self._cells(line)
        if not self._columns:
            self._columns = self._header(cells)
            return
        self._rows += 1
        if self._rows > ROWS_LIMIT:
            raise BadFile(f"The file has more than {ROWS_LIMIT:,} rows; divide it.")
        if not self.parts or self.parts[-1].rows() == PART_ROWS:
            self.parts.append(Part([], [], []))
        part = self.parts[-1]
        try:
            part.asks.append(self._ask_of(self._row(cells), self._line))
            part.lines.append(self._line)
        except RefillError as refusal:
            part.refused.append(refused_row(self._line, refusal, self._reference(cells)))

    def _cells(self, line: str) -> list[str]:
        if "\0" in line:
            raise BadFile(f"Line {self._line} contains the character U+0000; this is no text file.")
        if '"' not in line:
            return line.split(",")
        try:
            # A row of ours never holds a line break: a quote that is open at the end of its line would swallow rows.
            return next(csv.reader([line], strict=True))
        except csv.Error:
            raise BadFile(f"A quote in line {self._line} does not end there; no row of the file was taken.") from None

    def _header(self, cells: list[str]) -> list[str]:
        columns = [cell.strip() for cell in cells]
        if unknown := [column for column in columns if column not in COLUMNS]:
            hint = "; divide columns by commas" if any(mark in unknown[0] for mark in ";\t") else ""
            raise BadFile(
                f"The first line names the columns, of these: {', '.join(COLUMNS)}; column "
                f"{columns.index(unknown[0]) + 1} is none of them{hint}."
            )
        if len(set(columns)) < len(columns):
            raise BadFile("A column is named twice in the first line.")
        if missing := [column for column in NEEDED if column not in columns]:
            raise BadFile(f"The column {missing[0]} is missing in the first line.")
        return columns

    def _row(self, cells: list[str]) -> TopUpAsk:
        if len(cells) != len(self._columns):
            raise BadInput(f"This line has {len(cells)} cells, and the first line names {len(self._columns)} columns.")
        given = {column: cell for column, cell in zip(self._columns, cells, strict=True) if cell != ""}
        for column in NEEDED:
            if column not in given:
                raise BadInput(f"The cell {column} is empty.")
        return TopUpAsk(**given)

    def _reference(self, cells: list[str]) -> str:
        """The row's own name, when it has one that can be told back."""
        given = dict(zip(self._columns, cells, strict=False)).get("reference", "")
        return given if given.isascii() and given.isprintable() and len(given) <= 128 else ""


RESULT = ("line", "reference", "msisdn", "status", "certainty", "topup", "replayed", "face_value", "price", "currency",
          "operator", "code", "detail")  # fmt: skip


def result_line(cells: dict[str, str]) -> list[str]:
    """A row of the result file. A cell that a spreadsheet would calculate with gets an apostrophe before it."""
    return [_plain(cells.get(column, "")) for column in RESULT]


def _plain(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "@", "+", "-", "\t", "\r") and not cell[1:].isdigit() else cell
