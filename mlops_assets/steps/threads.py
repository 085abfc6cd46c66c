"""How many OpenMP threads scikit-learn may use."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    with _thread_pools().limit(limits=_limit if cells >= _CELLS_WORTH_A_TEAM else 1, user_api="openmp"):
        yield


@functools.lru_cache
def _thread_pools() -> Any:
    """The thread pools of the libraries that are loaded; looking for them takes 7 ms, so it is done once.

    It is the OpenMP of scikit-learn that matters, which is loaded with its ensembles.
    """
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
