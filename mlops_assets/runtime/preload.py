"""Imports that pay for being early, and for being made once for several processes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from mlops_assets.imports import importing

_LIBRARIES = {
    # While skops is imported it looks for each function of numpy and scipy.special in all modules that are loaded, in
    # their order: a third of a second when these are the first, three when they come after four thousand others.
    "scipy.special": {"model", "metrics", "production_model", "predictions"},
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
    needed = [library for library, users in _LIBRARIES.items() if names & users]
    for library in needed:
        with importing(library):
            import_module(library)
