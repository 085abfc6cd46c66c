"""A delivered CSV file of any size, in the form of the ``classification`` data: ``python -m benchmarks.big_file``."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from pyarrow import csv

from mlops_assets.sources.generate import generate_day

_ROWS = 250_000
_START = dt.date(2026, 1, 1)


def write(path: Path, size: int) -> None:
    """Write a ``data.csv`` of at least ``size`` bytes; complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    writer, day = None, _START
    with draft.open("wb") as file:
        while file.tell() < size:
            # Another day has other ids.
            data = generate_day("classification", day.isoformat(), seed=0, rows=_ROWS, start_date=str(_START)).data
            writer = writer or csv.CSVWriter(file, data.schema, write_options=csv.WriteOptions(quoting_style="needed"))
            writer.write_table(data)
            day += dt.timedelta(days=1)
        if writer:
            writer.close()
    draft.replace(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
