"""The errors of this package: what happened, where (never with a password), what was expected, what to do next."""

from __future__ import annotations

from mlops_assets.errors import MlopsAssetsError


class TrackingError(MlopsAssetsError):
    """MLflow could not do what was asked."""


class TrackingAwayError(TrackingError):
    """MLflow cannot be reached, or failed on its side."""

    can_retry = True
