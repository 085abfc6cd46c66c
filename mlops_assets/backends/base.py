"""The interface of all backends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from mlops_assets.runtime.request import PartitionResult, Request

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore


class Backend(Protocol):
    """Runs steps somewhere.

    Attributes:
        leaves_processes: Whether steps run in something that may outlive the process that started it.
        store: The data root, as it is seen here.
        params: Of the steps.
    """

    leaves_processes: bool
    store: LocalStore
    params: Parameters

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:
        """Get ready for what will be asked for; may go on in the background. Never necessary, only faster.

        Args:
            assets: What a run will make.
            partitions: For which days.
            run_id: The Dagster run's, if it is known.
        """

    def run(self, request: Request, context: AssetExecutionContext | None = None) -> Generator[PartitionResult]:
        """Run a step for some partitions; a result each, as soon as it is published, in any order.

        A step that runs elsewhere is at work when this returns. Closing the iterator ends the work.

        Args:
            request: What to do.
            context: Dagster's, for the log messages of steps that run elsewhere.

        Raises:
            MlopsAssetsError: Something that concerns all partitions failed.
        """

    def recipe_image(self, step: str) -> str:
        """What the recipe of a step's partitions holds of its image: its ID where it is not ours, else nothing."""

    def image_id(self, step: str) -> str:
        """The ID of the image that a step ran in last; empty where it runs in none."""

    def cleanup(self, is_over: Callable[[str], bool]) -> list[str]:
        """End what is still there for Dagster runs that are over; a line for each thing that was ended."""

    def close(self) -> None:
        """Release what the backend holds; it may be used again."""
