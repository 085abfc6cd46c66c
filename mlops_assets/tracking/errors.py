"""The errors of this package: what happened, where (never with a password), what was expected, what to do next."""

from __future__ import annotations

from mlops_assets.errors import MlopsAssetsError


class TrackingError(MlopsAssetsError):
    """MLflow could not do what was asked."""


class TrackingAwayError(TrackingError):
    """MLflow cannot be reached, or has trouble of its own."""

    can_retry = True


class UntrustedModelError(TrackingError):
    """A model file holds types that are not on our allow-list, or content that could crash the process."""
