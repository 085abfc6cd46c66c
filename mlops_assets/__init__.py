"""A daily machine-learning pipeline as Dagster data assets.

``Pipeline`` is where users' own code and tests begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_assets.wiring.pipeline import Pipeline as Pipeline

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__"]


def __getattr__(name: str) -> Any:
    """`Pipeline`, imported when it is asked for: step images hold neither Dagster nor settings."""
    if name == "Pipeline":
        from mlops_assets.wiring.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
