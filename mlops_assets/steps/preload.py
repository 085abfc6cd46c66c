"""Imports that pay for being early."""

from __future__ import annotations

from collections.abc import Iterable

_WITH_MODELS = {"model", "metrics", "production_model", "predictions"}


def preload(assets: Iterable[str]) -> None:
    """Import skops (and with it scikit-learn) before MLflow and Dagster, if any of the assets will need it.

    While skops is imported it looks for each function of numpy and scipy in all modules that are loaded, in their
    order: half a second when they are the first, three when they come after four thousand others.
    """
    if _WITH_MODELS.intersection(assets):
        import skops.io  # noqa: F401
