"""Everything that is kept in MLflow: the runs of models, their files, the registry of versions and its promotions.

The only package that imports mlflow, and it does so at the first call, never at import. What does not belong here:
loading, training or scoring models, deciding whether one is good enough, and anything that knows Dagster.
"""

from __future__ import annotations

from mlops_assets.tracking.config import TrackingConfig
from mlops_assets.tracking.entities import Promotion, TrainedModel, Verdict, Version
from mlops_assets.tracking.errors import TrackingAwayError, TrackingError
from mlops_assets.tracking.registry import Registry
from mlops_assets.tracking.tracker import Tracking

__all__ = [
    "Promotion",
    "Registry",
    "Tracking",
    "TrackingAwayError",
    "TrackingConfig",
    "TrackingError",
    "TrainedModel",
    "Verdict",
    "Version",
]
