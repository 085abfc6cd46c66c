"""What :class:`~mlops_assets.backends.workers.WorkersBackend` and its processes say to each other (pickled)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlops_assets.runtime.runner import RunInfo
from mlops_assets.steps.parameters import Parameters
from mlops_assets.tracking.config import TrackingConfig


@dataclass(frozen=True)
class Setup:
    """The first message to a process: what to work on, and which assets it should import for at once."""

    data_dir: str
    tracking: TrackingConfig
    params: Parameters
    assets: Sequence[str]


@dataclass(frozen=True)
class Request:
    """Make these days of an asset, or (without an asset) let the gate decide.

    Attributes:
        asset: Asset name or None.
        partitions: Days.
        run: On whose behalf.
        openmp_threads: How many threads the worker may use.
    """

    asset: str | None
    partitions: Sequence[str]
    run: RunInfo
    openmp_threads: int


class Reply(NamedTuple):
    """An answer.

    Attributes:
        kind: ``result``, ``turn``, ``call``, ``done`` or ``failed``.
        content: A PartitionResult; the day that waits to be recorded; what to call of `Tracking` (dotted name,
            arguments, named arguments); what was asked for; the exception and its traceback.
    """

    kind: str
    content: Any
