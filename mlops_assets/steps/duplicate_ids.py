"""How many ids stand in a file more than once: counted block by block, with 8 bytes a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_assets.steps.row_hash import row_hashes

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


class RepeatedIds:
    """Counts the rows of a table whose id stands in an earlier row.

    Ids are compared by 64-bit hash: among a hundred million the chance of one false alarm is 1 in 4,000.
    """

    def __init__(self, column: str) -> None:
        """Name the column; a table without it has no ids."""
        self._column = column
        self._hashes: list[NDArray[np.uint64]] = []

    def add(self, rows: pa.Table) -> None:
        """Take the next rows. A missing id repeats none."""
        if self._column in rows.column_names:
            self._hashes.append(row_hashes(rows.select([self._column]).drop_null()))

    def count(self) -> int | None:
        """The number of repeated ids so far; None where there is no such column."""
        if not self._hashes:
            return None
        hashes = np.concatenate(self._hashes)
        hashes.sort()
        return int(np.count_nonzero(hashes[1:] == hashes[:-1]))
