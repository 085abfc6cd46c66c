"""Imports that pay for being early, and for being made once for several processes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

_LIBRARIES = {
    # While skops is imported it looks for each function of numpy and scipy in all modules that are loaded, in their
    # order: half a second when they are the first, three when they come after four thousand others.
    "skops.io": {"model", "metrics", "production_model", "predictions"},
    "sklearn.ensemble": {"model", "metrics", "production_model", "predictions"},
    "sklearn.metrics": {"metrics"},
    "pyarrow.compute": {"raw_data", "processed", "split", "model", "metrics", "predictions"},
    "pyarrow.csv": {"raw_data", "processed", "split", "model", "metrics", "predictions"},
}
"""Library -> the assets whose steps use it; in the order of the imports."""


def preload(assets: Iterable[str]) -> None:
    """Import the libraries that the steps of these assets use. Starts no thread and opens nothing."""
    names = set(assets)
    for library, users in _LIBRARIES.items():
        if names & users:
            import_module(library)
