"""Strategies: what may lie in a folder that others write to, and how it is put there."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SPECIAL = ("fifo", "directory", "device", "loop", "dangling", "link", "socket path")

WORDS = [
    *(
        "",
        " ",
        "\t",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e999",
        "-0.0",
        "0",
        "1",
        "2",
        "007",
        "1_000",
        "1,5",
        "0x1F",
        "True",
    ),
    *("9" * 30, "-9223372036854775808", "18446744073709551615", "1e-400", ".5", "5.", "+1", "--1", "é", "\u202e", "𝒳"),
    *("2024-01-01", "0000-01-01", "0001-01-01", "9999-12-31", "2024-02-30", "2024-01-01T25:00", "12:00:00", "24:00"),
    *("1677-09-21 00:12:43.145224193", "2262-04-12 00:00:00.000000001", "2024-01-01 00:00:00+14:00", "2024-01-01Z"),
    *("a,b", 'a"b', '"', '""', "a\nb", "a\rb", "'", "=1+1", "\\N", "NULL", "-", "#", "{", "x" * 3000, "\ufeff", "\x1f"),
    *("2024-01-01T00:00:00.123456789Z", "1500-01-01 00:00:00.123456789", "9999-12-31 23:59:59.999999999", "\x00"),
]
NAMES = [
    *("x", "y", "amount", "prediction", "row", "score_0", "score_1", "index", "target ", " id", "ID", "X", "é", "x\ty"),
    *("a,b", 'a"b', '"', "a\nb", "", " ", "\ufeffx", "0", "nan", "x" * 3000, "[x]", "<", "x_days", "__class__", "\x1f"),
]
KINDS = [
    st.integers(-(2**63), 2**64).map(str),
    st.integers(0, 3).map(str),
    st.floats().map(repr),
    st.floats(-10, 10).map(repr),
    st.dates().map(str),
    st.datetimes().map(str),
    st.booleans().map(str),
    st.text(max_size=6),
    st.sampled_from(["red", "blue", "green"]),
    st.sampled_from(WORDS),
]


@dataclass(frozen=True)
class Special:
    """Something other than a file of its own."""

    kind: str


CLASSES = ["0", "1", "2", "no", "yes", "True", "False", "a b", 'a"b', "é", "-1", "1.0", "9" * 18, "x" * 300, "nan", ""]


def _rarely(draw: Any, times: int = 8) -> bool:
    return bool(draw(st.integers(0, times)) == times)


@st.composite
def columns(draw: Any, rows: int) -> list[str]:
    """A column: few different cells, of one kind or with some of any other."""
    cells = draw(st.lists(draw(st.sampled_from(KINDS)), min_size=1, max_size=6))
    if _rarely(draw, 3):
        cells += draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
    return list(islice(cycle(cells), rows))


@st.composite
def targets(draw: Any, rows: int) -> list[str]:
    """Classes, sometimes anything."""
    if _rarely(draw):
        return draw(columns(rows))
    return list(islice(cycle(draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))), rows))


def written(table: Mapping[str, list[str]], *, delimiter: str = ",", end: str = "\n", quotes: str = "needed") -> str:
    """A table as CSV; ``quotes`` are ``needed``, around ``all`` cells, or there are ``none``."""

    def cell(text: str) -> str:
        must = quotes == "all" or (quotes == "needed" and any(one in text for one in (delimiter, *'"\n\r')))
        return '"' + text.replace('"', '""') + '"' if must else text

    lines = [[*table], *zip(*table.values(), strict=True)]
    return "".join(delimiter.join(map(cell, line)) + end for line in lines)


@st.composite
def days(draw: Any, names: list[str] | None = None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Data and target of a day, with any values, but of a form that fits together."""
    rows = draw(st.sampled_from([1, 2, 7, 30, 30, 30, 60]))
    if names is None:
        kinds = st.sampled_from([one for one in NAMES if one.strip()])
        names = draw(st.lists(kinds, min_size=1, max_size=5, unique=True))
        names = ["id", *names] if draw(st.booleans()) else names
    data = {name: [str(row) for row in range(rows)] if name == "id" else draw(columns(rows)) for name in names}
    target = {"target": draw(targets(rows))}
    if "id" in data and draw(st.booleans()):
        target = {"id": data["id"], **target}
    if "id" in data and _rarely(draw):
        data["id"] = draw(columns(rows))
    return data, target


INSERTS = st.sampled_from(['"', "\0", "\n", "\r", ",", "\ufeff", "\n\n", "\x1a", '"\n', "\r\n\r\n", "\u2028"]).map(
    str.encode
)
ENCODINGS = st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"])


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """A file after something happened to it."""
    place = draw(st.integers(0, len(content)))
    before, after = content[:place], content[place:]
    ways = {
        "cut": lambda: before,
        "insert": lambda: before + draw(INSERTS | st.just(b"\xff")) + after,
        "remove": lambda: before + after[draw(st.integers(1, 20)) :],
        "double": lambda: content + content,
        "encode": lambda: content.decode(errors="replace").encode(draw(ENCODINGS), "replace"),
        "repeat": lambda: before + after[:1] * 200_000 + after,
        "gzip": lambda: gzip.compress(content, mtime=0),
        "bytes": lambda: draw(st.binary(max_size=60)),
    }
    return ways[draw(st.sampled_from(sorted(ways)))]()


SPECIALS = st.sampled_from(SPECIAL).map(Special)


@st.composite
def faulty_days(draw: Any) -> dict[str, bytes | Special]:
    """Name -> content of a delivered day with faults in it."""
    data, target = draw(days())
    fault = draw(st.sampled_from(["damage", "damage", "damage", "names", "rows", "form", "form", "missing", "special"]))
    at = draw(st.sampled_from(["data.csv", "data.csv", "target.csv"]))
    table = data if at == "data.csv" else target
    if fault == "names":
        table[draw(st.sampled_from(NAMES))] = draw(columns(len(next(iter(data.values())))))
        if draw(st.booleans()):
            del table[next(iter(table))]
    elif fault == "rows":
        count = draw(st.sampled_from([0, 1, 5]))
        table.update({name: cells[:count] for name, cells in table.items()})
    form = {}
    if fault == "form":
        form = {
            "delimiter": draw(st.sampled_from([",", ",", ";", "\t", "|", " "])),
            "end": draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n\r", ",\n", "\u2028", " \n"])),
            "quotes": draw(st.sampled_from(["needed", "all", "none"])),
        }
    day: dict[str, bytes | Special] = {"data.csv": written(data).encode(), "target.csv": written(target).encode()}
    day[at] = written(table, **form).encode()
    if fault == "damage":
        day[at] = draw(damaged(day[at]))
    elif fault == "special":
        day[at] = draw(SPECIALS)
    elif fault == "missing":
        del day[at]
    return day


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS = st.sampled_from(["/etc/passwd", "../../outside", "data.csv", "..", ".", "", "a\0b", "\ud800", "x" * 300])


@st.composite
def changed_json(draw: Any, content: bytes) -> bytes:
    """A JSON file of ours in which some values are others, or which is none."""
    how = draw(st.sampled_from(["values", "values", "values", "values", "deep", "bytes", "json", "number"]))
    if how == "deep":
        return b"[" * 100_000 if draw(st.booleans()) else content.rstrip()[:-1] + b', "x": ' + b"[" * 100_000
    if how == "bytes":
        return draw(damaged(content))
    if how == "json":
        return json.dumps(draw(JSON)).encode()
    if how == "number":
        return b"9" * 5_000
    document = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        place, parent = [], document
        while isinstance(parent, dict | list) and len(parent) and (not place or draw(st.booleans())):
            key = draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
            place.append((parent, key))
            parent = parent[key]
        if not place:
            break
        holder, key = place[-1]
        kind = draw(st.integers(0, 5))
        if kind == 0 and isinstance(holder, dict):
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = draw(JSON)
        else:
            holder[key] = draw(JSON | PATHS)
    return json.dumps(document).encode()


def put(path: Path, content: bytes | Special, outside: Path) -> None:
    """Put something in its place; links lead to ``outside``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content.kind == "fifo":
        os.mkfifo(path)
    elif content.kind == "directory":
        (path / "below").mkdir(parents=True)
    else:
        links = {"device": "/dev/zero", "loop": path, "dangling": outside / "missing", "link": outside / "precious.csv"}
        path.symlink_to(links.get(content.kind, "/dev/stdin/x"))


def seen(folder: Path) -> dict[str, object]:
    """What lies in a folder: path -> content, link target, or kind."""

    def content(path: Path) -> object:
        if path.is_symlink():
            return path.readlink()
        return path.read_bytes() if path.is_file() else path.lstat().st_mode

    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*"))}
