"""Messages for broken CSV files: which line, which column, what to do.

Lines are those of the file, as an editor counts them. Rows are data rows: the first one below the header is row 1.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pacsv

from mlops_assets.errors import DataError

_OTHER_DELIMITERS = ";\t|,"
_SHOWN = 80


@dataclass(frozen=True)
class Block:
    """Some whole rows of a file.

    Attributes:
        body: The rows' text, without header.
        names: Column names.
        rows_before: Rows of the file that come before these.
        lines_before: Lines of the file that come before these.
        source: What to call the file in messages.
        delimiter: Between the cells.
    """

    body: bytes
    names: list[str]
    rows_before: int
    lines_before: int
    source: str
    delimiter: str

    def read(self, convert: pacsv.ConvertOptions, *, threads: bool = True) -> pa.Table:
        """Parse the rows."""
        return pacsv.read_csv(
            pa.BufferReader(self.body),
            pacsv.ReadOptions(column_names=self.names, use_threads=threads),
            pacsv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=b'"' in self.body,
                ignore_empty_lines=len(self.names) > 1,  # in a file of one column they are missing values
            ),
            convert,
        )


def check_text(text: bytes, source: str, lines_before: int) -> None:
    """Refuse what is not UTF-8, or has a NUL or a second byte order mark in it.

    Args:
        text: Some whole lines.
        source: What to call the file in messages.
        lines_before: Lines of the file that come before these.
    """

    def place(byte: int) -> str:
        line = lines_before + text.count(b"\n", 0, byte) + 1
        return "line 1 (the header)" if line == 1 else f"line {line}"

    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}, {place(error.start)}: byte {text[error.start]:#04x} is not UTF-8. Write the file as UTF-8"
            " (in pandas: to_csv(..., encoding='utf-8'))."
        ) from error
    if (nul := text.find(b"\0")) >= 0:
        raise DataError(
            f"{source}, {place(nul)}: it has a NUL byte, which no text has: the file is damaged, or is not written as"
            " UTF-8. Deliver it again."
        )
    mark = text.find(b"\n" + codecs.BOM_UTF8) + 1
    if mark or (lines_before and text.startswith(codecs.BOM_UTF8)):
        raise DataError(
            f"{source}, {place(mark)}: it begins with a byte order mark, as only a file does: two files were put"
            " together. Deliver one table with one header."
        )


def check_header(text: bytes, source: str, delimiter: str) -> tuple[list[str], bytes]:
    """Split off and check the header line.

    Returns:
        The column names and the text below the header.

    Raises:
        DataError: Empty file, wrong delimiter, a nameless column, the same name twice, or empty lines before the only
            column's name.
    """
    if not text.removeprefix(codecs.BOM_UTF8).strip():
        raise DataError(f"{source} is empty. Expected a header line and at least one row. Deliver the file again.")
    start = text.lstrip(b"\r\n")
    header, _, body = start.partition(b"\n")
    line = header.decode("utf-8-sig").rstrip("\r")
    if not line:
        raise DataError(
            f"{source} begins with an empty line. Expected the names of the columns. Deliver the file again."
        )
    if line.count('"') % 2:
        raise DataError(
            f"{source}: the header is {line[:_SHOWN]!r}, in which a quote is opened and not closed. Expected all column"
            " names in one line, without line breaks in them. Write the file again (in pandas: to_csv)."
        )
    try:
        names = next(csv.reader(io.StringIO(line), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(
            f"{source}: the header cannot be read ({error}). Expected one line of column names, ended by a line feed."
            " Write the file again (in pandas: to_csv)."
        ) from error
    if len(names) == 1 and (other := next((sign for sign in _OTHER_DELIMITERS if sign in line), None)):
        raise DataError(
            f"{source}: the header has one column, {line[:_SHOWN]!r}: its cells are not separated by {delimiter!r} but,"
            f" it seems, by {other!r}. Write the file with {delimiter!r}, or set MLOPS_CSV_DELIMITER to {other!r}."
        )
    if len(names) == 1 and start != text:
        raise DataError(f"{source} begins with an empty line. Expected the name of the column. Deliver the file again.")
    if nameless := [place for place, name in enumerate(names, 1) if not name.strip()]:
        raise DataError(f"{source}: column {nameless[0]} has no name in the header. Give every column a name.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{source}: two columns have the name {twice[0]!r}. Rename one of them.")
    return names, body


def unclosed_quote(text: bytes, source: str, lines_before: int) -> DataError:
    """The error for text with an odd number of quotes, which begins at a row and goes on to the file's end.

    The row with the quote is the first one after which the number of quotes stays odd.
    """
    quotes = place = line = 0
    for number, content in enumerate(text.split(b"\n"), lines_before + 1):
        if not quotes % 2 and content:
            start, line = place, number
        quotes += content.count(b'"')
        place += len(content) + 1
    begin = text[start:][:_SHOWN].decode("utf-8", errors="replace")
    return DataError(
        f"{source}, line {line}: a quote is opened and never closed, in the row that begins {begin!r}: the file was cut"
        ' off, or a quote inside a value is not doubled (""). Deliver the whole file again.'
    )


def explain(error: pa.ArrowInvalid, block: Block, convert: pacsv.ConvertOptions) -> DataError:
    """Turn Arrow's refusal of a block into an error that names row and column."""
    text = _single_threaded(block, convert) or str(error)
    found = re.search(r"Row #(\d+)", text)
    row = int(found[1]) if found else None
    place = f"{block.source}, line {_line_of(block, row)} (row {block.rows_before + row})" if row else block.source
    if cells := re.search(r"Expected (\d+) columns, got (\d+)", text):
        is_cut = not block.body.endswith(b"\n") and row == block.body.count(b"\n") + 1
        why = (
            "the file ends in the middle of the row"
            if is_cut
            else "a cell is missing, or a value has the delimiter in it"
        )
        return DataError(
            f"{place}: expected {cells[1]} cells as in the header, found {cells[2]}: {why}. Deliver the whole file"
            " again, with values that contain the delimiter in double quotes."
        )
    if cell := re.search(r"In CSV column #(\d+):.*conversion error to ([^:]+): (.*)", text, re.DOTALL):
        return DataError(
            f"{place}, column {block.names[int(cell[1])]!r}: expected {cell[2]}, found {cell[3][:_SHOWN]}."
            " Correct the value and deliver the file again."
        )
    return DataError(f"{place} cannot be read as CSV: {text[:400]}. Deliver the file again.")


def _line_of(block: Block, row: int) -> int:
    """The line of the file at which a row of a block begins: values may have line feeds, empty lines are no rows."""
    quotes = rows = 0
    for line, content in enumerate(block.body.split(b"\n"), block.lines_before + 1):
        is_row = bool(content.strip(b"\r")) or len(block.names) == 1
        rows += is_row and quotes % 2 == 0
        if rows == row:
            return line
        quotes += content.count(b'"')
    return line


def _single_threaded(block: Block, convert: pacsv.ConvertOptions) -> str | None:
    """Arrow's message from a reader that counts rows: slow, so only once something is wrong."""
    try:
        block.read(convert, threads=False)
    except pa.ArrowInvalid as error:
        return str(error)
    return None
