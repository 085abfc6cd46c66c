"""The interface of all backends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mlops_assets.runtime.runner import PartitionResult, RunInfo

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore


class Backend(Protocol):
    """Runs steps somewhere.

    Attributes:
        runs_elsewhere: Whether steps run in something that may outlive the process that started it.
        store: The data root, as it is seen here.
        params: Of the steps.
    """

    runs_elsewhere: bool
    store: LocalStore
    params: Parameters

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:
        """Get ready for what will be asked for; may go on in the background. Never necessary, only faster.

        Args:
            assets: What a run will make.
            partitions: For which days.
            run_id: The Dagster run's, if it is known.
        """

    def materialize(
        self, asset: str, partitions: Sequence[str], run: RunInfo, context: AssetExecutionContext | None = None
    ) -> Generator[PartitionResult]:
        """Make some days of an asset; a result a day, as soon as the day is published.

        Closing the iterator ends the work.

        Args:
            asset: Asset name.
            partitions: Days.
            run: On whose behalf.
            context: Dagster's, for the log messages of steps that run elsewhere.

        Raises:
            MlopsAssetsError: Something that concerns all days failed.
        """

    def promote(self, run: RunInfo, context: AssetExecutionContext | None = None) -> Mapping[str, Any]:
        """Let the gate decide over the newest model; see :func:`mlops_assets.assets.promotion.promote`."""

    def sweep(self, is_over: Callable[[str], bool]) -> list[str]:
        """End what is still there for Dagster runs that are over; a line for each thing that was ended."""

    def close(self) -> None:
        """Let go of what the backend holds; it may be used again."""
