"""Imports that pay for being early, and for being made once for several processes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from mlops_assets.imports import importing
from mlops_assets.steps.catalog import STEPS


def preload(steps: Iterable[str]) -> None:
    """Import the libraries that these steps use. Starts no thread and opens nothing."""
    needed = dict.fromkeys(library for step in steps for library in STEPS[step].libraries)
    # The order of the step with the most libraries is the order that pays.
    order = list(
        dict.fromkeys(one for step in sorted(STEPS.values(), key=lambda s: -len(s.libraries)) for one in step.libraries)
    )
    for library in sorted(needed, key=order.index):
        with importing(library):
            import_module(library)
