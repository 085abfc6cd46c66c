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
    """In: a store.foreign.Scan of a file that somebody else put there, or None. Out: such a scan; the file stays."""
    MODEL = "model"
    """A fitted scikit-learn Pipeline; written as a file, logged to MLflow and registered."""
    JSON = "json"
    """A mapping of JSON values."""


@dataclass(frozen=True)
class File:
    """One file of an asset's partition.

    Attributes:
        asset: Whose partition it lies in.
        name: File name.
        kind: As what the function sees it.
        window: As an input: the files of the last ``train_window_days`` days, a list of tables, oldest first.
    """

    asset: str
    name: str
    kind: Kind = Kind.TABLE
    window: bool = False


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
        name: What it is called on the command line.
        asset: The asset that it makes.
        function: ``(inputs by file name, parameters, ds) -> Outcome``; resolved at first use, because its module may
            import scikit-learn.
        inputs: What it reads.
        outputs: What it writes.
        settings: The parameters that its outputs depend on.
        version: Changes when the same inputs would give other outputs.
        uses_production_model: Whether it also gets the model in production, as input ``production``.
        uses_tracking: Whether it talks to the tracking server.
    """

    name: str
    asset: str
    function: Callable[[], Callable[[Mapping[str, Any], Parameters, str], Outcome]]
    inputs: tuple[File, ...]
    outputs: tuple[File, ...]
    settings: tuple[str, ...]
    version: str = "1"
    uses_production_model: bool = False
    uses_tracking: bool = False
