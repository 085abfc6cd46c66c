"""Days of delivered files: 20 columns of floats with all their digits, as sensors and ratios have them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

COLUMNS = 20


def write_days(root: Path, first: dt.date, days: int, rows: int) -> None:
    """Write ``raw/{ds}/data.csv`` (id and 20 floats) and ``target.csv`` (id and 0 or 1) below ``root``."""
    for number in range(days):
        folder = root / "raw" / (first + dt.timedelta(days=number)).isoformat()
        folder.mkdir(parents=True)
        rng = np.random.default_rng(number)
        values = rng.normal(size=(COLUMNS, rows))
        signal = values[0] + values[1] * values[2] + np.sin(3 * values[3]) + rng.normal(size=rows)
        ids = pa.array(np.arange(rows) + number * 10_000_000)
        features = {f"x{place:02d}": pa.array(column) for place, column in enumerate(values)}
        csv.write_csv(pa.table({"id": ids, **features}), folder / "data.csv")
        csv.write_csv(pa.table({"id": ids, "target": (signal > 1).astype(int)}), folder / "target.csv")
