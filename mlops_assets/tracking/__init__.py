"""Everything that is kept in MLflow: runs, logged models, the registry of versions and its promotions.

The only package that imports mlflow, and it does so at the first call, never at import. What does not belong here:
training, scoring, deciding whether a model is good enough, and anything that knows Dagster.
"""

from __future__ import annotations

from mlops_assets.tracking.config import TrackingConfig
from mlops_assets.tracking.entities import LoggedModel, Promotion, Version
from mlops_assets.tracking.errors import TrackingError, UntrustedModelError
from mlops_assets.tracking.registry import Registry
from mlops_assets.tracking.tracker import Tracking

__all__ = [
    "LoggedModel",
    "Promotion",
    "Registry",
    "Tracking",
    "TrackingConfig",
    "TrackingError",
    "UntrustedModelError",
    "Version",
]
