"""How many OpenMP threads scikit-learn may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_CELLS_WORTH_A_TEAM = 2_000_000
_limit: int | None = None


def limit_openmp_threads(threads: int | None) -> None:
    """How many threads large data may have in this process; None: as many as there are cores."""
    global _limit  # noqa: PLW0603  # a property of the process, like the libraries' thread pools
    _limit = threads


@contextmanager
def openmp_threads_for(cells: int) -> Iterator[None]:
    """One thread for small data, all for large.

    Gradient boosting meets at a barrier after each of thousands of short loops, and OpenMP's threads spin there. For
    10,000 rows x 20 columns a second thread gains nothing, and where another process wants the processor it costs a
    factor of ten and more. The result does not depend on the number of threads.

    Args:
        cells: Rows times columns.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(_limit if cells >= _CELLS_WORTH_A_TEAM else 1, user_api="openmp"):
        yield
