"""The interface of all backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from mlops_assets.steps.runner import PartitionResult, RunInfo


class Backend(Protocol):
    """Runs steps somewhere."""

    def prepare(self, assets: Sequence[str], partitions: Sequence[str]) -> None:
        """Get ready for what will be asked for; may go on in the background. Never necessary, only faster."""

    def materialize(self, asset: str, partitions: Sequence[str], run: RunInfo) -> Iterator[PartitionResult]:
        """Make some days of an asset; a result a day, as soon as the day is published.

        Raises:
            MlopsAssetsError: Something that concerns all days failed.
        """

    def promote(self, run: RunInfo) -> Mapping[str, Any]:
        """Let the gate decide over the newest model; see :func:`mlops_assets.steps.promotion.promote`."""

    def close(self) -> None:
        """Let go of what the backend holds; it may be used again."""
