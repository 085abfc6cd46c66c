"""What can go wrong with alerts."""

from __future__ import annotations

from mlops_assets.errors import MlopsAssetsError


class AlertError(MlopsAssetsError):
    """An alert could not be delivered to a target; the message holds no secret."""
