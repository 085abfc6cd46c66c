"""Write a request of many rows to standard output: ``python -m benchmarks.many_rows DATA.CSV ROWS COLUMN,COLUMN``.

In a process of its own, because the one that measures must stay small.
"""

from __future__ import annotations

import json
import sys
from itertools import cycle, islice

import pandas as pd


def main() -> None:
    path, rows, columns = sys.argv[1:]
    frame = pd.read_csv(path)[columns.split(",")]
    data = json.loads(frame.to_json(orient="values"))
    print(json.dumps({"dataframe_split": {"columns": list(frame), "data": list(islice(cycle(data), int(rows)))}}))


if __name__ == "__main__":
    main()
