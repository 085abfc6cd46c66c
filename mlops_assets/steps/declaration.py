"""How a step is declared: what it reads, what it writes, the function between, and its version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mlops_assets.steps.parameters import Parameters


class Kind(Enum):
    """What a function gets or gives for a file."""

    TABLE = "table"
    """A pyarrow.Table."""
    STREAM = "stream"
    """An iterator of pyarrow.Table (in: blocks of the file in order; out: what is written as one file)."""
    DELIVERED = "delivered"
    """In: a store.delivered.Scan of a delivered file, or None. Out: such a scan; the file stays as it is."""
    MODEL = "model"
    """A fitted scikit-learn Pipeline. As an input it is the model that the request names for the partition."""
    JSON = "json"
    """A mapping of JSON values."""


class Days(Enum):
    """Which partitions of an input a step reads."""

    OWN = "own"
    """The step's own partition."""
    WINDOW = "window"
    """The last ``train_window_days`` days, those that exist: a list of contents, oldest first."""
    REQUESTED = "requested"
    """Those that the request names for the asset: a mapping of partition to content, in the request's order."""


class Record(Enum):
    """What MLflow is to record when a partition is done."""

    MODEL = "model"
    """A run with parameters and the model, and a registered version."""
    METRICS = "metrics"
    """The metrics of the partition's model, in its run."""


@dataclass(frozen=True)
class File:
    """One file of an asset's partition.

    Attributes:
        asset: Whose partition it lies in.
        name: File name.
        kind: As what the function sees it.
        days: As an input: of which partitions.
        in_recipe: As an input: whether another content makes the partition stale.
    """

    asset: str
    name: str
    kind: Kind = Kind.TABLE
    days: Days = Days.OWN
    in_recipe: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a step's function gives.

    Attributes:
        outputs: File name -> content, of the kind that was declared.
        metadata: JSON values for people: counts, balances, warnings.
    """

    outputs: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: What it is called in settings and requests.
        asset: The asset that it makes.
        function: ``(inputs by file name, parameters, partition) -> Outcome``; resolved at first use, because its module
            may import scikit-learn.
        inputs: What it reads.
        outputs: What it writes.
        settings: The parameters that its outputs depend on.
        libraries: Modules that it uses and that are worth importing before its turn, in the order of their imports.
        code: The modules of ``mlops_assets`` whose code decides what it writes.
        version: Raised by hand when the same inputs would give other outputs.
        records: What MLflow is to record.
    """

    name: str
    asset: str
    function: Callable[[], Callable[[Mapping[str, Any], Parameters, str], Outcome]]
    inputs: tuple[File, ...]
    outputs: tuple[File, ...]
    settings: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    version: str = "1"
    records: Record | None = None
