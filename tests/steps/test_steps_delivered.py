"""Real input, from the delivered files to the table that a model is trained on."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from pathlib import Path

import pytest
from projects import DS, NEXT, Project, as_csv, mixed, with_labels, without_column

ROWS = 60


def reordered(text: str) -> str:
    header, *rows = csv.reader(io.StringIO(text))
    return as_csv(header, rows[::-1])


@pytest.fixture
def delivered(project):
    """A project in which a day of files was delivered, not registered yet."""

    def deliver(data, target=None, **settings):
        made = project(**settings)
        made.deliver(DS, data, target)
        return made

    return deliver


@pytest.fixture
def processed(delivered):
    """The same, registered and processed: its table and metadata."""

    def process(data, target, **settings):
        made = delivered(data, target, **settings)
        made.make("register")
        metadata = made.make("process")
        return made.table("processed", "train_data.csv"), metadata

    return process


def test_mixed_columns_keep_their_values(processed):
    # given strings with delimiters, quotes, line breaks and unicode, dates, booleans, an empty and a constant column
    table, metadata = processed(*mixed(ROWS))
    # then all rows are there, typed, the target last
    assert metadata["rows"] == ROWS
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string",
        "amount": "double",
        "count": "int64",
        "colour": "string",
        "note": "string",
        "day": "timestamp[s]",
        "flag": "bool",
        "constant": "int64",
        "nothing": "double",
        "target": "int64",
    }
    assert set(table["colour"].to_pylist()) == {"red", "blue", 'dark, "green"', "grün"}
    assert table["note"][0].as_py().endswith("\nsecond line")
    assert sum(metadata["class_balance"].values()) == ROWS


def test_registering_leaves_the_files_alone_and_describes_them(delivered):
    # given delivered files
    made = delivered(*mixed(ROWS))
    before = made.files()
    # when they are registered
    metadata = made.make("register")
    # then they are as they were, and described
    assert {path: data for path, data in made.files().items() if path in before} == before
    assert (metadata["rows"], metadata["columns"], metadata["has_target"]) == (ROWS, 9, True)
    assert metadata["missing_share"]["nothing"] == 1.0
    assert len(metadata["preview"]) == 5


@pytest.mark.parametrize(
    "date", ["0000-01-01", "0000-01-01 10:00:00", "2024-01-01 10:00:00.123456789", "2024-01-01 10:00:00Z"]
)
def test_dates_that_python_does_not_know_are_dates(delivered, date):
    # given dates of the year 0 or with nanoseconds, and a target of such dates
    made = delivered(f"a,b\n{date},1\n{date},2\n", f"target\n{date}\n{date}\n")
    # when they are registered / then they are shown as they are spelled
    assert all(row["a"].startswith(date[:16]) for row in made.make("register")["preview"])
    # and the target is refused with the value
    assert f"such as {date[:10]}" in made.refused("process")


def test_registering_again_gives_the_same_bytes(delivered):
    made = delivered(*mixed(ROWS))
    made.make("register", "process", "split")
    before = made.files()
    made.make("register", "process", "split")
    assert made.files() == before


def test_the_target_may_come_later(delivered):
    # given data without target
    data, target = mixed(ROWS)
    made = delivered(data)
    assert made.make("register")["has_target"] is False
    # then processing says what is missing and what to do
    assert f"raw/{DS}/target.csv is missing. Deliver it" in made.refused("process")
    # and goes on when it came
    made.deliver(DS, target=target)
    made.make("register", "process")


def test_the_same_target_in_another_order_is_the_same(processed, delivered, tmp_path):
    data, target = mixed(ROWS)
    one, _ = processed(data, target)
    other, _ = processed(data, reordered(target))
    assert one.equals(other)


def test_byte_order_mark_and_crlf_make_no_difference(processed):
    data, target = without_column(mixed(ROWS)[0], "note"), mixed(ROWS)[1]
    one, _ = processed(data, target)
    other, _ = processed("\ufeff" + data.replace("\n", "\r\n"), "\ufeff" + target.replace("\n", "\r\n"))
    assert one.equals(other)


def test_without_ids_rows_and_targets_are_matched_by_position(processed):
    data, target = mixed(ROWS)
    with_id, _ = processed(data, target)
    table, _ = processed(without_column(data, "id"), without_column(target, "id"))
    assert table.equals(with_id.drop_columns("id"))


def test_a_thousand_columns(processed):
    wide = {f"column {n}": (lambda row, n=n: row * n % 17) for n in range(1_000)}
    table, metadata = processed(*mixed(ROWS, **wide))
    assert (table.num_columns, metadata["columns"]) == (1_010, 1_010)
    assert len(metadata["preview"][0]) == 25


def test_rows_without_target_and_targets_without_row_are_counted(processed):
    # given data of which the first ten rows have no target, one row an empty one, and two targets have no row
    data, target = mixed(ROWS)
    lines = target.splitlines()
    lines[11] = lines[11].split(",")[0] + ","
    target = "\n".join([lines[0], *lines[11:], "901,1", "902,0"]) + "\n"
    # when they are processed
    table, metadata = processed(data, target)
    # then both are counted
    assert (metadata["rows_without_target"], metadata["targets_without_row"]) == (11, 2)
    assert table["id"].to_pylist() == [str(row) for row in range(11, ROWS)]


def test_exact_duplicates_are_dropped_and_counted(processed):
    data, target = mixed(ROWS)
    once, _ = processed(data, target)
    table, metadata = processed(data + rows_of(data, 3, 5), target + rows_of(target, 3))
    assert metadata["rows_duplicate"] == 2
    assert table.equals(once)


def rows_of(text: str, *numbers: int) -> str:
    """Some rows of a CSV text, counted from 1."""
    header, *rows = csv.reader(io.StringIO(text))
    return as_csv(header, [rows[number - 1] for number in numbers]).split("\n", 1)[1]


def test_duplicate_rows_without_id_are_dropped(processed):
    table, metadata = processed("x,y\n1,a\n2,b\n1,a\n1,a\n", "target\n0\n1\n0\n1\n")
    assert table.to_pydict() == {"x": [1, 2, 1], "y": ["a", "b", "a"], "target": [0, 1, 1]}
    assert metadata["rows_duplicate"] == 1


def test_dropped_columns_are_gone_and_reported(processed):
    table, metadata = processed(*mixed(ROWS), drop_columns="note,flag,not there")
    assert not {"note", "flag"} & set(table.column_names)
    assert metadata["columns_dropped"] == ["note", "flag"]


def test_infinite_values_are_counted(processed):
    _, metadata = processed(*mixed(ROWS, amount=lambda row: "inf" if row == 1 else "-inf" if row == 2 else row / 3))
    assert metadata["infinite_values"] == 2


@pytest.mark.parametrize(
    ("labels", "kept"),
    [((0, 1), [0, 1]), (("no", "yes, ünd"), ["no", "yes, ünd"]), (("1.0", "2.0"), [1, 2]), (("false", "true"), [0, 1])],
)
def test_targets_of_every_kind(processed, labels, kept):
    data, target = mixed(ROWS)
    table, metadata = processed(data, with_labels(target, labels))
    assert sorted(set(table["target"].to_pylist())) == kept
    assert len(metadata["class_balance"]) == 2


def test_the_target_keeps_the_name_that_is_set(processed):
    data, target = mixed(ROWS)
    table, _ = processed(data, target.replace("target", "TX_FRAUD"))
    assert table.column_names[-1] == "target"
    table, _ = processed(data, target.replace("target", "TX_FRAUD"), target_column="TX_FRAUD")
    assert table.column_names[-1] == "TX_FRAUD"


DATA, TARGET = f"raw/{DS}/data.csv", f"raw/{DS}/target.csv"


@pytest.mark.parametrize(
    ("data", "target", "expected"),
    [
        ("", None, [DATA, "is empty", "Deliver the file again"]),
        ("id,x\n", None, [DATA, "no rows"]),
        (
            "id,x\n1,2\n2",
            None,
            [DATA, "line 3 (row 2)", "ends in the middle of the row", "Deliver the whole file again"],
        ),
        ('id,x\n1,"a\n', None, [DATA, "line 2", "quote", "cut off"]),
        ("id;x\n1;2\n", None, [DATA, "';'", "MLOPS_CSV_DELIMITER"]),
        (b"id,x\n1,a\n2,\xff\n", None, [DATA, "line 3", "UTF-8"]),
        (b"id,x\n1,a\n2,b\0\n", None, [DATA, "line 3", "NUL"]),
        (mixed(ROWS, amount=lambda row: "?" if row == 7 else row / 3)[0], None, [DATA, "row 8", "'amount'", "'?'"]),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_registered(delivered, data, target, expected):
    # given a day that is fine, and registered
    made = delivered(*mixed(ROWS))
    made.make("register", "process")
    # when broken files are delivered in its place
    made.deliver(DS, data, target)
    if target is None:
        (made.store.folder("raw_data", DS) / "target.csv").unlink()
    # then the message names file and place and says what to do, and nothing else changes
    message = made.refused("register")
    for words in expected:
        assert words in message
    assert made.table("processed", "train_data.csv").num_rows == ROWS


def test_a_misspelt_id_column_is_refused(delivered):
    # given a setting that names no column of the data: ids would be learned from, and missing beside the predictions
    made = delivered(*mixed(ROWS), id_column="idd")
    # when / then
    message = made.refused("register")
    assert "has no column 'idd', which MLOPS_ID_COLUMN names. Did you mean 'id'?" in message


@pytest.mark.parametrize(
    ("data", "target", "expected"),
    [
        ("id,x\n1,2\n", "", ["is empty"]),
        ("id,x\n1,2\n", "id,target\n", ["no rows"]),
        ("id,x\n1,2\n", b"id,target\n1,\xff\n", ["line 2", "UTF-8"]),
        ("x\n1\n2\n", "target\n1\n0\n1\n", [DATA, "2 rows", "3", "row 2", "by position", "MLOPS_ID_COLUMN"]),
        ("x\n1\n2\n", "target\n1\n", [DATA, "2 rows", "data.csv goes on after row 1"]),
        ("id,x\n1,2\n", "target\n1\n0\n", ["goes on after row 1"]),
        ("id,x\n1,2\n", "id,a,b\n1,2,3\n", ["id, a, b", "MLOPS_TARGET_COLUMN"]),
    ],
)
def test_a_broken_target_stops_training_and_nothing_else(delivered, data, target, expected):
    # given a day whose target cannot be used
    made = delivered(data, target)
    # when it is registered
    metadata = made.make("register")
    # then the day is there, with a warning, and only what needs the target is refused
    assert metadata["has_target"] is False
    for words in (TARGET, *expected):
        assert words in metadata["warnings"][0]
        assert words in made.refused("process")
    assert made.table("raw_data", "data.csv").num_rows == metadata["rows"]
    # and it goes on when a good one is delivered
    rows = metadata["rows"]
    made.deliver(DS, target="target\n" + "1\n" * rows)
    assert made.make("register")["has_target"] is True
    made.make("process")


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_a_target_that_is_no_file_was_not_delivered(delivered, kind):
    made = delivered(mixed(ROWS)[0])
    place = made.store.folder("raw_data", DS) / "target.csv"
    place.mkdir() if kind == "directory" else os.mkfifo(place)
    assert made.make("register")["has_target"] is False
    assert f"{TARGET} is missing. Deliver it (as a regular file)" in made.refused("process")


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
@pytest.mark.parametrize("name", ["data.csv", "raw_data.manifest.json"])
def test_what_is_no_file_stops_its_day_only(delivered, kind, name):
    # given a day of which a file is none, and a good one
    made = delivered(*mixed(ROWS))
    made.make("register")
    made.deliver(NEXT, *mixed(ROWS))
    place = made.store.folder("raw_data", DS) / name
    place.unlink()
    if kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir() if kind == "directory" else os.mkfifo(place)
    # when both are registered and processed
    registered = made.run("register", DS, NEXT)
    processed = made.run("process", DS, NEXT)
    # then the bad day is refused by name, if it cannot be replaced, and the other one goes on
    assert registered[1].error is processed[1].error is None
    if name == "data.csv" or kind == "directory":
        assert name in (registered[0].error or "")
        assert name in (processed[0].error or "")


def test_a_day_without_rights_stops_its_day_only(make_settings, without_root):
    with tempfile.TemporaryDirectory() as place:
        # given two days, of which one cannot be looked into
        made = Project(make_settings(source="files", data_dir=Path(place) / "data"))
        made.deliver(DS, "a\n1\n")
        made.deliver(NEXT, "a\n1\n")
        made.make("register", ds=NEXT)
        with without_root(Path(place)):
            made.store.folder("raw_data", DS).chmod(0)
            # when both are registered / then the message names the folder, and the other day is done
            first, second = made.run("register", DS, NEXT)
            made.store.folder("raw_data", DS).chmod(0o700)
    assert f"raw_data of {DS} cannot be read: " in first.error
    assert "Permission denied. Give the user" in first.error
    assert second.error is None


def test_words_for_missing_values_are_missing(processed):
    # given columns of numbers, words and dates in which a value may be missing in many ways
    ways = ["None", "NULL", "NaN", "N/A", "nan", "-", " ", "   ", "null", "n/a", ""]

    def or_missing(value):
        return lambda row: ways[row] if row < len(ways) else value(row)

    table, _ = processed(
        *mixed(
            ROWS,
            amount=or_missing(lambda row: row / 3),
            colour=or_missing(lambda row: "red"),
            day=or_missing(lambda row: "2024-01-01"),
        )
    )
    # then it is missing, and the columns are what they are
    assert [str(table[name].type) for name in ("amount", "colour", "day")] == ["double", "string", "timestamp[s]"]
    assert [table[name].null_count for name in ("amount", "colour", "day")] == [len(ways)] * 3


def test_which_words_are_missing_values_can_be_set(delivered):
    # given a column of numbers with question marks
    data, target = mixed(ROWS, amount=lambda row: "?" if row % 30 == 0 else row / 3)
    made = delivered(data, target)
    assert "MLOPS_MISSING_VALUES" in made.refused("register")
    # when they are set as missing, then they are, also for later readers; a recipe of its own
    again = delivered(data, target, missing_values="?, NA")
    again.make("register", "process")
    assert again.table("processed", "train_data.csv")["amount"].null_count == 2
    assert again.store.require("raw_data", DS).settings["missing_values"] == ["?", "NA"]


def test_empty_lines_of_a_target_of_one_column_are_missing_targets(processed):
    # given targets without id of which the second and the last one are missing, as empty lines
    table, metadata = processed("x\n1\n2\n3\n4\n", "target\n0\n\n1\n\n")
    assert table.to_pydict() == {"x": [1, 3], "target": [0, 1]}
    assert metadata["rows_without_target"] == 2
    # and further ones at the end mean nothing
    again, _ = processed("x\n1\n2\n3\n4\n", "target\n0\n\n1\n\n\n\n")
    assert again.equals(table)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_handful_of_rows_trains_or_says_why_not(delivered, rows):
    # given very few rows, which may all fall on one side of the split
    trained = []
    for first in range(0, 40, 4):
        made = delivered(
            as_csv(("id", "x", "word"), [(first + n, n, f"w{n}") for n in range(rows)]),
            as_csv(("id", "target"), [(first + n, n % 2) for n in range(rows)]),
            estimator="logistic_regression",
        )
        made.make("register", "process", "split")
        # then training and evaluation work, or the message says what to do
        (result,) = made.run("train", DS)
        trained.append(result.error)
        if result.error is None:
            made.make("evaluate")
        else:
            assert "MLOPS_TRAIN_WINDOW_DAYS" in result.error
    if rows == 1:
        assert any("no row to train on" in error for error in trained)
    else:
        assert None in trained


def test_a_missing_file_is_refused(project):
    made = project()
    assert f"{DATA} is missing. Expected a CSV file; deliver it" in made.refused("register")
    assert not made.store.root.exists()


def test_a_last_value_that_may_be_cut_is_warned_of(delivered):
    metadata = delivered("id,x\n1,2\n2,34", "id,target\n1,0\n2,1\n").make("register")
    assert metadata["warnings"] == [
        "data.csv does not end with a line break: it may have been cut off in its last value"
    ]


@pytest.mark.parametrize(
    ("data", "target", "expected"),
    [
        ("id,x\n1,5\n2,6\n1,7\n", "id,target\n1,0\n2,1\n", [f"{DATA}, rows 1, 3", "id '1'", "Expected each id once"]),
        ("id,x\n1,5\n2,6\n", "id,target\n1,0\n2,1\n1,1\n", [f"{TARGET}, rows 1, 3", "id '1'"]),
        ("id,x\n1,5\n,6\n", "id,target\n1,0\n,1\n", [f"{TARGET}, row 2 below the header, column 'id'", "is missing"]),
        ("id,x\n1,5\n2,6\n", "id,target\n3,0\n4,1\n", [TARGET, "no row", "Deliver the targets"]),
        ("id,x\n1,5\n2,6\n", "id,target\n1,0.5\n2,1\n", [TARGET, "0.5", "class labels"]),
        ("id,x\n1,5\n2,6\n", "id,target\n1,inf\n2,1\n", [TARGET, "inf", "class labels"]),
        ("id,x\n1,5\n2,6\n", "id,target\n1,1e300\n2,1\n", [TARGET, "1e+300", "class labels"]),
        ("id,x\n1,5\n2,6\n", "id,target\n1,2024-01-01\n2,2024-01-02\n", [TARGET, "2024-01-01", "class labels"]),
        ("id,x,target\n1,5,0\n2,6,1\n", "id,target\n1,0\n2,1\n", [DATA, "'target'", "MLOPS_DROP_COLUMNS"]),
        ("id,x,fraud\n1,5,0\n2,6,1\n", "id,fraud\n1,0\n2,1\n", [DATA, "'fraud'", "leak", "MLOPS_DROP_COLUMNS"]),
        ("id\n1\n2\n", "id,target\n1,0\n2,1\n", [DATA, "no column left", "MLOPS_DROP_COLUMNS"]),
        (
            as_csv(("id", "x"), [(n, n) for n in range(200)]),
            as_csv(("id", "target"), [(n, n) for n in range(200)]),
            [TARGET, "200 distinct values", "at most 100 classes", "MLOPS_TARGET_COLUMN"],
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused_when_it_is_processed(delivered, data, target, expected):
    made = delivered(data, target)
    made.make("register")
    message = made.refused("process")
    for words in expected:
        assert words in message


def test_a_file_that_changes_after_it_was_registered_is_not_processed(delivered):
    made = delivered(*mixed(ROWS))
    made.make("register")
    made.deliver(DS, mixed(ROWS, seed=1)[0])
    message = made.refused("process")
    assert f"{DATA} was changed since raw_data of {DS} was published" in message
    assert f"mlops-assets materialize raw_data --partition {DS}" in message


def test_a_bad_day_does_not_stop_the_others(delivered):
    # given a broken day between good ones
    made = delivered(*mixed(ROWS))
    made.deliver(NEXT, "")
    made.deliver("2024-01-03", *mixed(ROWS))
    # when all are registered, asked for in any order
    results = made.run("register", "2024-01-03", DS, NEXT)
    # then only the broken one fails, oldest first
    assert [(one.partition, one.error is None) for one in results] == [(DS, True), (NEXT, False), ("2024-01-03", True)]


def test_a_generator_does_not_overwrite_what_was_delivered(project, tmp_path):
    made = project(source="classification")
    made.deliver("2026-01-01", "precious")
    assert "MLOPS_SOURCE=files" in made.refused("generate", "2026-01-01")
