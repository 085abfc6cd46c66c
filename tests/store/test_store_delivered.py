"""Delivered files: what they hold is found over the whole file, and a refusal says where and what to do."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from mlops_assets.errors import DataError
from mlops_assets.store import delivered as foreign
from mlops_assets.store.delivered import scan
from mlops_assets.store.tables import read_table, stream_table

SOURCE = "raw/2024-01-01/data.csv"


@pytest.fixture(params=["whole", "in small blocks"])
def blocks(request, monkeypatch):
    """Each test also with blocks so small that every row meets a boundary."""
    if request.param != "whole":
        monkeypatch.setattr(foreign, "BLOCK_BYTES", 7)


@pytest.fixture
def delivered(tmp_path, blocks):
    """Scan a file of this content."""

    def deliver(content: str | bytes, **options):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return scan(path, SOURCE, **{"missing_values": ("NA", "NaN"), **options})

    return deliver


@pytest.fixture
def read(delivered, tmp_path):
    """The rows of a file of this content, as later steps read them."""

    def read_file(content: str | bytes, **options):
        info = delivered(content, **options).info
        data = (tmp_path / "data.csv").read_bytes()
        assert info.sha256 == hashlib.sha256(data).hexdigest()
        assert info.size == len(data)
        table = read_table(data, info)
        assert table.num_rows == info.rows
        with (tmp_path / "data.csv").open("rb") as file:
            assert [row for block in stream_table(file, info) for row in block.to_pylist()] == table.to_pylist()
        return table

    return read_file


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], "int64"),
        (["1", "2.5"], "double"),
        (["1.5", "2"], "double"),
        (["", "2"], "int64"),
        (["", ""], "double"),
        (["NA", "inf", "-inf"], "double"),
        (["1", "x"], "string"),
        (["true", "False"], "bool"),
        (["true", "x"], "string"),
        (["2024-01-01", "2024-12-31"], "timestamp[s]"),
        (["2024-01-01", "2024-01-01 10:00:00"], "timestamp[s]"),
        (["2024-01-01", "2024-01-01 10:00:00.5"], "timestamp[us]"),
        (["2024-01-01 10:00:00.123456789", "2024-01-01"], "timestamp[ns]"),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00.5+02:00"], "timestamp[us, tz=UTC]"),
        (["2024-01-01T10:00:00Z", "2024-01-01"], "string"),
        (["10:00", "11:00"], "string"),
        (["2024-01-01", "5"], "string"),
    ],
)
def test_types_are_found_over_the_whole_file(read, cells, kind):
    # given a column of these cells
    table = read("id,x\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    # then it has the type that holds them all, and can be read as that
    assert str(table["x"].type) == kind


def test_no_digit_of_a_time_is_lost(read):
    table = read("id,x\n1,2024-01-01 10:00:00.123456789\n2,\n")
    assert table["x"].cast("int64").to_pylist() == [1704103200123456789, None]


def test_strings_with_everything_in_them(read):
    # given values with delimiters, quotes, line breaks and unicode, in a file with a byte order mark and CRLF
    content = '\ufeffid,text\r\n1,"a, b"\r\n2,"say ""hi"""\r\n3,"two\r\nlines"\r\n4,ü 😀\r\n5,""\r\n6,NA\r\n'
    # then they are read as they were meant; an empty cell is missing
    assert read(content).to_pylist() == [
        {"id": 1, "text": "a, b"},
        {"id": 2, "text": 'say "hi"'},
        {"id": 3, "text": "two\r\nlines"},
        {"id": 4, "text": "ü 😀"},
        {"id": 5, "text": None},
        {"id": 6, "text": None},
    ]


def test_identifiers_stay_text(read):
    assert read("id,x\n007,1\n8,2\n", text_columns=("id", "not there")).to_pydict() == {"id": ["007", "8"], "x": [1, 2]}


def test_another_delimiter(read):
    assert read("a;b\n1,5;x\n", delimiter=";").to_pydict() == {"a": ["1,5"], "b": ["x"]}


def test_missing_values_are_counted(delivered):
    assert delivered("a,b\n1,\n,NaN\n,x\n").missing == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "   ", "2", "\t"], "int64", [1, None, 2, None]),
        (["1", '"  "', "2", " " * 60], "int64", [1, None, 2, None]),
        (["a", " ", "b", ""], "string", ["a", None, "b", None]),
        (["1.5", "-", "NA", "-2"], "double", [1.5, None, None, -2]),
        (["-", "None", "yes", "no"], "string", [None, None, "yes", "no"]),
        ([" ", "NA", "", "-"], "double", [None] * 4),
    ],
)
def test_blank_cells_and_the_words_that_are_set_are_missing(delivered, read, cells, kind, values):
    # given such cells, and the words that mean missing
    content = "id,x\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))
    words = {"missing_values": ("NA", "-", "None")}
    # then they are missing, for the scan and for later readers
    table = read(content, **words)
    assert (str(table["x"].type), table["x"].to_pylist()) == (kind, values)
    assert delivered(content, **words).missing["x"] == values.count(None)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_of_a_single_column_are_missing_values(delivered, read, end):
    content = end.join(["target", "1", "", "0", " ", "", "1", "", "", ""])
    assert read(content)["target"].to_pylist() == [1, None, 0, None, None, 1, None, None]
    assert delivered(content).empty_lines_at_end == 2
    assert delivered(content + "1").empty_lines_at_end == 0


@pytest.mark.parametrize(
    ("others", "place", "found"),
    [
        ({17: "n/a?"}, "row 17 below the header, column 'x'", "'n/a?'"),
        ({3: "1,5", 60: "?"}, "rows 3, 60 below the header, column 'x'", "'1,5', '?'"),
        (dict.fromkeys(range(1, 9), "x"), "rows 1, 2, 3, 4, 5 and 3 more below the header, column 'x'", "'x'. "),
    ],
)
def test_a_column_of_numbers_with_few_other_cells_is_refused(delivered, read, others, place, found):
    # given numbers, and few cells that are none
    content = "id,x\n" + "".join(f'{row},"{others.get(row, row / 4)}"\n' for row in range(1, 201))
    # then rows, values and the settings that help are named
    with pytest.raises(DataError, match=rf"^{SOURCE}, {place}: expected a number.*found ") as caught:
        delivered(content)
    for words in (found, "MLOPS_MISSING_VALUES", "MLOPS_TEXT_COLUMNS", f"other {200 - len(others)} rows"):
        assert words in str(caught.value)
    # and with either setting the file is read
    assert read(content, text_columns=("x",))["x"].null_count == 0
    assert read(content, missing_values=tuple(others.values()))["x"].null_count == len(others)


@pytest.mark.parametrize("cells", [["1", "2", "x"] * 20, ["12", "12a", "7"] * 20, ["2024-01-01"] * 50 + ["7"]])
def test_codes_that_are_often_numbers_are_words(read, cells):
    assert str(read("id,x\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)))["x"].type) == "string"


def test_empty_lines_are_no_rows(read):
    assert read("a,b\n1,2\n\n3,4\n\n\n").num_rows == 2


@pytest.mark.parametrize("last", ["\n", ""])
def test_a_last_row_without_line_break_is_told(delivered, last):
    found = delivered("a,b\n1,2\n3,4" + last)
    assert found.info.rows == 2
    assert found.ends_with_newline is bool(last)


def test_a_thousand_columns(read):
    names = [f"column {n}" for n in range(1_000)]
    table = read(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert table.column_names == names


@pytest.mark.parametrize(
    ("content", "place", "expected"),
    [
        ("", SOURCE, "is empty. Expected a header line and at least one row. Deliver the file again"),
        ("\n\n", SOURCE, "is empty"),
        ("\ufeff", SOURCE, "is empty"),
        ("\ufeff\r\n", SOURCE, "is empty"),
        ("\ufeff\na,b\n1,2\n", SOURCE, "(is empty|begins with an empty line). Expected"),
        ("a,b\n", SOURCE, "has a header and no rows. Expected at least one row"),
        ("a,b", SOURCE, "has a header and no rows"),
        ("a;b\n1;2\n", SOURCE, "not separated by ',' but, it seems, by ';'. .* set MLOPS_CSV_DELIMITER"),
        ("a\tb\n1\t2\n", SOURCE, "MLOPS_CSV_DELIMITER"),
        ("a,,b\n1,2,3\n", f"{SOURCE}: column 2", "has no name in the header. Give every column a name"),
        ("a,b,a\n1,2,3\n", SOURCE, "two columns have the name 'a'. Rename one of them"),
        ("a,b\r1,2\r3,4\r", SOURCE, "the header cannot be read .* Write the file again"),
        (
            "a,b\n1,2\n3\n4,5\n",
            rf"{SOURCE}, line 3 \(row 2\)",
            "expected 2 cells as in the header, found 1: a cell is missing",
        ),
        ("a,b\n1,2\n3,4\n5,6,7\n", rf"{SOURCE}, line 4 \(row 3\)", "expected 2 cells .* found 3.* in double quotes"),
        (
            "a,b,c\n1,2,3\n4,5",
            rf"{SOURCE}, line 3 \(row 2\)",
            "expected 3 cells .* found 2: the file ends in the middle of the row",
        ),
        ('a,b\n1,2\n3,"x\n', f"{SOURCE}, line 3", "a quote is opened and never closed.*'3,.*cut off"),
        ('a,b\n1,2\n3,5" x\n4,"y"\n5,"z"\n', f"{SOURCE}, line 3", "never closed.*not doubled.*Deliver the whole file"),
        ('a,"b\n1,2\n', f"{SOURCE}, line 1", "never closed"),
        (b"a,b\n1,x\n2,\xe4\n3,x\n", f"{SOURCE}, line 3", "byte 0xe4 is not UTF-8. Write the file as UTF-8"),
        (b"a,\xe4\n1,x\n", rf"{SOURCE}, line 1 \(the header\)", "byte 0xe4 is not UTF-8"),
        (b"a,b\n1,x\n2,y\0z\n", f"{SOURCE}, line 3", "a NUL byte.*Deliver it again"),
        ("a,b\n1,2\n".encode("utf-16-le"), rf"{SOURCE}, line 1 \(the header\)", "a NUL byte.*not written as UTF-8"),
        (
            'a,"b\nc"\n1,2\n',
            SOURCE,
            "the header is 'a,\"b', in which a quote .* not closed. Expected .* without line breaks",
        ),
        ('a,"b\nc"', SOURCE, "the header is 'a,\"b'"),
        ("\n\na\n1\n", SOURCE, "begins with an empty line"),
        ("a\n1\n\ufeffa\n2\n", f"{SOURCE}, line 3", "a byte order mark.*two files were put together"),
        ("a\n\ufeff1\n", f"{SOURCE}, line 2", "a byte order mark"),
        (
            "a,b\n1,2024-01-01\n2, 2024-01-02\n",
            rf"{SOURCE}, line 3 \(row 2\), column 'b'",
            "' 2024-01-02'. Correct the value",
        ),
        ("a,b\n1,2\n".encode("utf-16"), rf"{SOURCE}, line 1 \(the header\)", "is not UTF-8"),
    ],
)
def test_what_is_broken_is_refused_with_its_place(delivered, content, place, expected):
    with pytest.raises(DataError, match=rf"^{place}.*{expected}"):
        delivered(content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{SOURCE} is missing. Expected a CSV file; deliver it"):
        scan(tmp_path / "data.csv", SOURCE)


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "nowhere"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    place = tmp_path / "data.csv"
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero" if kind == "device" else "/nowhere")
    with pytest.raises(DataError, match=rf"^{SOURCE} is no regular file\. Expected a CSV file"):
        scan(place, SOURCE)


def test_rows_are_counted_across_blocks_and_line_breaks(delivered):
    # given many rows with line breaks in their values, and one broken row
    rows = [f'{n},"line {n}\nand another"\n' for n in range(1, 301)]
    rows[249] = "250\n"
    # then it is named by its line in the file, and by its number among the rows, empty lines or not
    with pytest.raises(DataError, match=rf"{SOURCE}, line 500 \(row 250\): expected 2 cells"):
        delivered("id,text\n" + "".join(rows))
    with pytest.raises(DataError, match=rf"{SOURCE}, line 502 \(row 250\): expected 2 cells"):
        delivered("id,text\n" + "\n\n".join(["".join(rows[:100]), "".join(rows[100:])]))


def test_a_stray_quote_in_a_large_file_is_found_in_bounded_memory(tmp_path, monkeypatch):
    # given a quote that is never closed early in a file of many blocks
    monkeypatch.setattr(foreign, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(foreign, "MAX_ROW_BYTES", 50_000)
    path = tmp_path / "data.csv"
    path.write_text("id,text\n" + "1,x\n" * 5_000 + '2,5" pipe\n' + '3,"y"\n' * 100_000)
    # then its line is named
    with pytest.raises(DataError, match=f"{SOURCE}, line 5002: a quote is opened and never closed"):
        scan(path, SOURCE)


WORDS = b'1 2.5 x , , "" " - NA 2024-01-01 true nan 1e400 99999999999999999999 ; \0 \xff \xef\xbb\xbf'
PIECES = [*WORDS.split(b" "), b" ", b"   ", b"\t", b"\n", b"\n", b"\r\n"]
CELLS = [b"1", b"2.5", b"", b" ", b"x", b"NA", b'"a\nb"', b'" "', b"true", b"2024-01-01", b" 2024-01-01", b'""']


def test_generated_files_are_refused_or_read_as_they_were_described(tmp_path, monkeypatch):
    # given files of random pieces and of random cells, read in blocks of several sizes
    chance, path, described = random.Random(0), tmp_path / "data.csv", 0
    for _ in range(1_000):
        columns = chance.choice([1, 1, 2, 3])
        rows = b"".join(
            b",".join(chance.choices(CELLS, k=columns)) + chance.choice([b"\n", b"\r\n", b"\n\n"])
            for _ in range(chance.randrange(9))
        )
        pieces = b"".join(chance.choices(PIECES, k=chance.randrange(30)))
        content = b",".join([b"a", b"b", b"c"][:columns]) + b"\n" + chance.choice([rows, pieces])
        path.write_bytes(content)
        monkeypatch.setattr(foreign, "BLOCK_BYTES", chance.choice([1 << 20, 5, 11]))
        # then each is refused with an error for people, or read by later steps as it was described
        try:
            found = scan(path, SOURCE, missing_values=("NA",))
        except DataError:
            continue
        described += 1
        table = read_table(content, found.info)
        assert table.num_rows == found.info.rows, content
        assert {name: table[name].null_count for name in table.column_names} == found.missing, content
    assert described > 250
