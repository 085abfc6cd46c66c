"""Steps run in the calling process: tests, and each of the processes of :mod:`~mlops_assets.backends.workers`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_assets.runtime.preload import preload
from mlops_assets.runtime.runner import PartitionResult, RunInfo, Runner
from mlops_assets.steps.catalog import step_of_asset

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.tracker import Tracking


class InProcessBackend:
    """Needs nothing but the Python package."""

    runs_elsewhere = False

    def __init__(
        self,
        store: LocalStore,
        tracking: Tracking,
        params: Parameters,
        *,
        before_recording: Callable[[str], None] | None = None,
    ) -> None:
        """Name the parts; nothing is opened before a step runs."""
        self.store, self.params, self._tracking = store, params, tracking
        self._before_recording = before_recording

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.prepare`."""
        preload(assets)

    def materialize(
        self,
        asset: str,
        partitions: Sequence[str],
        run: RunInfo,
        context: AssetExecutionContext | None = None,  # noqa: ARG002  # part of the interface
    ) -> Generator[PartitionResult]:
        """See :meth:`mlops_assets.backends.base.Backend.materialize`."""
        step = step_of_asset(asset, self.params.source)
        runner = Runner(self.store, self._tracking, self.params, run, before_recording=self._before_recording)
        return runner.run(step.name, partitions)

    def promote(
        self,
        run: RunInfo,
        context: AssetExecutionContext | None = None,  # noqa: ARG002  # part of the interface
    ) -> Mapping[str, Any]:
        """See :meth:`mlops_assets.backends.base.Backend.promote`."""
        from mlops_assets.assets.promotion import promote

        return promote(self.store, self._tracking, self.params, by=f"Dagster run {run.dagster_run_id}")

    def sweep(self, is_over: Callable[[str], bool]) -> list[str]:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.sweep`; processes end with the one that started them."""
        return []

    def close(self) -> None:
        """See :meth:`mlops_assets.backends.base.Backend.close`."""
