"""Importing large libraries without paying for the garbage that they do not make."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(library: str) -> Iterator[None]:
    """Keep the garbage collector still while a large library is imported for the first time.

    scikit-learn and MLflow make a million objects that all live as long as the process. The collector goes through
    them again and again while they come, later at every full collection, and once more at exit: a quarter of the
    processor time of a cold step. What is there at the end is left out of all collections from then on (`gc.freeze`);
    as that happens once a process and library, what it wrongly keeps is little and does not grow.

    Args:
        library: A module that is loaded once the library was imported.
    """
    if library in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
