"""Steps on this machine: in the calling process (tests), or in processes beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mlops_assets.runtime.pool import Pool
from mlops_assets.runtime.preload import preload
from mlops_assets.runtime.runner import Runner
from mlops_assets.steps.catalog import steps_of

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

    from mlops_assets.runtime.request import PartitionResult, Request
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore


class LocalBackend:
    """Needs nothing but the Python package."""

    leaves_processes = False

    def __init__(self, store: LocalStore, params: Parameters, workers: int) -> None:
        """Nothing is opened until first use.

        Args:
            store: The data root.
            params: Of the steps.
            workers: Processes beside this one; 0: steps run in this one.
        """
        self.store, self.params = store, params
        self._pool = Pool(str(store.root), workers) if workers else None

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.prepare`."""
        steps = [step.name for asset in assets for step in steps_of(asset, self.params.source)]
        if self._pool is None:
            preload(steps)
        else:
            self._pool.prepare(steps, len(partitions))

    def run(self, request: Request, context: AssetExecutionContext | None = None) -> Generator[PartitionResult]:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.run`."""
        return (self._pool or self._runner).run(request)

    def recipe_image(self, step: str) -> str:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.recipe_image`: there is no image."""
        return ""

    def image_id(self, step: str) -> str:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.image_id`: there is no image."""
        return ""

    def cleanup(self, is_over: Callable[[str], bool]) -> list[str]:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.cleanup`; processes end with the one that started them."""
        return []

    def close(self) -> None:
        """See :meth:`mlops_assets.backends.base.Backend.close`."""
        if self._pool is not None:
            self._pool.close()

    @cached_property
    def _runner(self) -> Runner:
        return Runner(self.store)
