"""A project on real files: people deliver CSV, steps run on it."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlops_assets.assets.promotion import promote
from mlops_assets.runtime.runner import PartitionResult, Runner
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_store, build_tracking

DS, NEXT, LATER = "2024-01-01", "2024-01-02", "2024-01-03"


class Project:
    """Data root, tracking server and parameters of one test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store, self.tracking, self.params = build_store(settings), build_tracking(settings), settings.parameters()

    def deliver(self, ds: str, data: str | bytes | None = None, target: str | bytes | None = None) -> None:
        """What somebody else drops into the folder of a day."""
        folder = self.store.folder("raw_data", ds)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("data.csv", data), ("target.csv", target)):
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def run(self, step: str, *days: str) -> list[PartitionResult]:
        return list(Runner(self.store, self.tracking, self.params).run(step, days))

    def make(self, *steps: str, ds: str = DS) -> dict[str, Any]:
        """Run steps one after the other; the last one's metadata."""
        metadata: dict[str, Any] = {}
        for step in steps:
            (result,) = self.run(step, ds)
            assert result.error is None, result.error
            metadata = dict(result.metadata)
        return metadata

    def refused(self, step: str, ds: str = DS) -> str:
        """The message of a step that must fail and must not touch any file."""
        before = self.files()
        (result,) = self.run(step, ds)
        assert result.error is not None
        assert not result.metadata
        assert self.files() == before
        return result.error

    def promote(self) -> dict[str, Any]:
        return promote(self.store, self.tracking, self.params, by="a test")

    def table(self, asset: str, name: str, ds: str = DS) -> Any:
        return self.store.read_table(asset, ds, name)

    def files(self) -> dict[Path, bytes]:
        """Every file under the data root."""
        return {path: path.read_bytes() for path in sorted(self.store.root.rglob("*")) if path.is_file()}


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


MIXED = ("id", "amount", "count", "colour", "note", "day", "flag", "constant", "nothing")


def mixed(rows: int = 400, seed: int = 0, first_id: int = 0, **changes: object) -> tuple[str, str]:
    """Columns of every kind and a target that can be learned from them.

    Args:
        rows: How many.
        seed: Of the values.
        first_id: Id of the first row.
        changes: Column -> function of the row number, in place of (or beside) the usual values.

    Returns:
        ``data.csv`` and ``target.csv``.
    """
    rng = random.Random(seed)
    data, target = [], []
    for row in range(first_id, first_id + rows):
        amount, colour = round(rng.gauss(0, 1), 6), rng.choice(["red", "blue", 'dark, "green"', "grün"])
        values = {
            "id": row,
            "amount": "" if rng.random() < 0.05 else amount,
            "count": rng.randrange(100),
            "colour": colour,
            "note": f"note {rng.randrange(60)}\nsecond line",
            "day": f"2023-{rng.randrange(1, 13):02}-{rng.randrange(1, 28):02}",
            "flag": rng.choice(["true", "false"]),
            "constant": 7,
            "nothing": "",
        }
        values |= {name: change(row) for name, change in changes.items()}  # type: ignore[operator]
        data.append(values)
        score = 2 * amount + (colour == "red") + rng.gauss(0, 0.5)
        target.append((row, int(1 / (1 + math.exp(-score)) > 0.5)))
    names = [*MIXED, *(name for name in changes if name not in MIXED)]
    return as_csv(names, [[one[name] for name in names] for one in data]), as_csv(("id", "target"), target)


def without_column(text: str, name: str) -> str:
    header, *rows = csv.reader(io.StringIO(text))
    place = header.index(name)
    return as_csv([*header[:place], *header[place + 1 :]], [[*row[:place], *row[place + 1 :]] for row in rows])


def with_labels(target: str, labels: Sequence[object]) -> str:
    """The target with other labels for its classes 0, 1, …."""
    header, *rows = csv.reader(io.StringIO(target))
    return as_csv(header, [(row, labels[int(label)]) for row, label in rows])
