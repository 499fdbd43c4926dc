"""Price lists as files: CSV and XLSX read row by row as text, with nothing evaluated and nothing guessed."""

import csv
import io
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, BinaryIO

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from refill.errors import BadInput

MOST_BYTES = 32 << 20
MOST_ROWS = 200_000
MOST_UNPACKED = 256 << 20  # of all parts of a spreadsheet together
MOST_PARTS = 1_000
MOST_COLUMNS = 64
LONGEST_CELL = 200
LONGEST_LINE = 4_096
FORMULA = ("=", "@", "+", "-", "\t", "\r")

# What people call the columns, beside our own names.
ALSO: Mapping[str, str] = {
    "运营商": "operator",
    "我方产品": "product",
    "供应商产品": "supplier_product",
    "名称": "name",
    "类型": "kind",
    "面值": "face",
    "最大面值": "max_face",
    "币种": "currency",
    "成本": "cost",
    "最大成本": "max_cost",
    "成本币种": "cost_currency",
    "等级": "tier",
    "渠道": "channel",
    "合作方": "partner",
    "价格": "price",
    "万分比": "bp",
    "生效时间": "valid_from",
    "失效时间": "valid_until",
}


class BadFile(BadInput):
    """The file as a whole cannot be read; nothing of it was taken."""

    code = "bad_file"


@dataclass(frozen=True, slots=True)
class Wrong:
    """A row that cannot be read: `why` is a word of `importing.SENTENCES`, and what it is about."""

    why: str
    what: str = ""


Cells = Mapping[str, str]
SheetRow = tuple[int, Cells | Wrong]


def sheet(file: BinaryIO, columns: Sequence[str], needed: Sequence[str]) -> Iterator[SheetRow]:
    """Each row after the header with its number, as text by column, or as what is wrong with it. Raises BadFile.

    What the file is, its first bytes tell; its name may say anything. A cell that holds a formula makes its row wrong:
    we never evaluate one, and never believe the value that somebody's program kept beside it.
    """
    size = file.seek(0, io.SEEK_END)
    if size > MOST_BYTES:
        raise BadFile(f"The file is larger than {MOST_BYTES >> 20} MB; send it in parts.")
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        rows = _spreadsheet(file)
    elif start == b"\xd0\xcf\x11\xe0":
        raise BadFile("This is an old or encrypted Excel file; save it as .xlsx without a password, or as CSV UTF-8.")
    else:
        rows = _text(file)
    yield from _named(rows, columns, needed)


def _named(
    rows: Iterator[tuple[int, list[str] | Wrong]], columns: Sequence[str], needed: Sequence[str]
) -> Iterator[SheetRow]:
    header = next(rows, None)
    if header is None or isinstance(header[1], Wrong):
        raise BadFile("The first line names the columns; this file has none.")
    names = [_name(cell) for cell in header[1]]
    while names and not names[-1]:
        names.pop()
    missing = [name for name in needed if name not in names]
    unknown = [name[:30] for name in names if name not in columns]
    if missing or unknown or len(set(names)) < len(names):
        says = f"{', '.join(missing)} is missing" if missing else f"{', '.join(unknown) or 'one name'} is one too many"
        raise BadFile(f"The first line names columns among {', '.join(columns)}; {says}.")
    count = 0
    for n, cells in rows:
        if isinstance(cells, Wrong):
            yield n, cells
        elif any(cells):
            yield n, _row(names, cells)
        else:
            continue
        count += 1
        if count > MOST_ROWS:
            raise BadFile(f"The file has more than {MOST_ROWS:,} rows; send it in parts.")


def _name(cell: str) -> str:
    name = cell.strip().lower().replace(" ", "_")
    return ALSO.get(name, name)


def _row(names: Sequence[str], cells: list[str]) -> Cells | Wrong:
    if len(cells) > len(names) and any(cells[len(names) :]):
        return Wrong("cells", str(len(cells)))
    for cell in cells:
        if cell.startswith(FORMULA):
            return Wrong("formula", cell[:20])
        if len(cell) > LONGEST_CELL:
            return Wrong("long", cell[:20])
        if not cell.isprintable():
            return Wrong("unprintable")
    return dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=False))


# ------------------------------------------------------------------ CSV


def _text(file: BinaryIO) -> Iterator[tuple[int, list[str] | Wrong]]:
    n = 0
    # Line by line on purpose: no column of ours holds a line break, and an open quote must not swallow the next rows.
    while raw := file.readline(LONGEST_LINE + 1):
        n += 1
        if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE + 1)) and not rest.endswith(b"\n"):
                pass
            yield n, Wrong("long")
            continue
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise BadFile(
                f"Line {n} is not UTF-8 (perhaps GBK); save the sheet as “CSV UTF-8” and send it again."
            ) from None
        if "\0" in line:
            raise BadFile(f"Line {n} holds a NUL character; save the sheet as “CSV UTF-8” and send it again.")
        if n == 1:
            line = line.removeprefix("\ufeff")
        if '"' not in line:  # nearly all
            yield n, [cell.strip() for cell in line.rstrip("\r\n").split(",")]
            continue
        try:
            yield n, [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")], strict=True), [])]
        except csv.Error:
            yield n, Wrong("quote")


# ------------------------------------------------------------------ XLSX (ECMA-376)


def _spreadsheet(file: BinaryIO) -> Iterator[tuple[int, list[str] | Wrong]]:
    """The first sheet of a workbook."""
    _harmless(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which we do not read
            book = openpyxl.load_workbook(file, read_only=True, data_only=False, keep_links=False)
            sheet = book.worksheets[0] if book.worksheets else None
            if sheet is None:
                raise BadFile("There is no sheet in this file.")
            for n, row in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True), 1):
                yield n, _cells(row)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, SyntaxError):
        # A ParseError of the XML is a SyntaxError.
        raise BadFile("This file cannot be read as a spreadsheet; save it again as .xlsx or as CSV UTF-8.") from None
    finally:
        file.seek(0)


def _harmless(file: BinaryIO) -> None:
    """Unpacks every part once, counting, before anybody reads it. Raises BadFile for a bomb or for declared entities."""
    try:
        with zipfile.ZipFile(file) as parts:
            names = parts.infolist()
            if len(names) > MOST_PARTS or sum(part.file_size for part in names) > MOST_UNPACKED:
                raise BadFile("Unpacked, this file would be too large; send a plain sheet or CSV.")
            if any(part.flag_bits & 1 for part in names):
                raise BadFile("This file is encrypted; save it without a password.")
            for part in names:
                _no_entities(parts, part)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        raise BadFile("This file cannot be read as a spreadsheet; save it again as .xlsx or as CSV UTF-8.") from None
    file.seek(0)


def _no_entities(parts: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """A document type is of no use in a spreadsheet; whoever writes one means to grow it, or to read our files."""
    if not part.filename.endswith((".xml", ".rels", ".vml")):
        return
    before = b""
    with parts.open(part) as text:  # reads at most what the part declares
        while block := text.read(1 << 20):
            if b"<!DOCTYPE" in before + block or b"<!ENTITY" in before + block or b"\0" in block:
                raise BadFile(
                    "This spreadsheet declares what no price list needs; save it again as .xlsx or CSV UTF-8."
                )
            before = block[-16:]


def _cells(row: tuple[Any, ...]) -> list[str] | Wrong:
    cells = []
    for value in row:
        if type(value) is str:
            cells.append(value.strip())
        elif value is None:
            cells.append("")
        elif isinstance(value, bool):
            return Wrong("cell", str(value).upper())
        elif isinstance(value, int):
            cells.append(str(value))
        elif isinstance(value, float):
            cells.append(_plain(value))
        elif isinstance(value, datetime):
            cells.append(value.isoformat(" ", "seconds"))
        elif isinstance(value, date):
            cells.append(value.isoformat())
        else:  # a time of day, an array formula
            return Wrong("formula" if hasattr(value, "text") else "cell", type(value).__name__)
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _plain(value: float) -> str:
    """The shortest decimal that is this number: what the person typed. 50.0 was typed as 50."""
    text = repr(value)
    return text.removesuffix(".0")
