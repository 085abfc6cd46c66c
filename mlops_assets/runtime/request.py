"""What a step is asked to do and what it answers: plain values that travel to wherever it runs, as JSON or pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlops_assets.steps.parameters import Parameters


@dataclass(frozen=True)
class ModelFile:
    """A model that a step works with, as the registry vouches for it.

    Attributes:
        path: Of the model's file, below the data root.
        sha256: Of the file; checked before it is parsed.
        recipe: Of the partition that it was trained as.
        name: What to call the model in messages, such as ``version 7 of model 'churn'``.
        libraries: Library -> version that it was trained with.
        image: ID of the image that trained it; empty where it was no container.
        facts: What manifests say of the model, by name.
    """

    path: str
    sha256: str
    recipe: str = ""
    name: str = "the model"
    libraries: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Run a step for some partitions.

    Attributes:
        step: Its name.
        partitions: Days; for ``score`` model versions (``v7``).
        params: Of the steps.
        models: Partition -> the model that the step works with there.
        days: Input asset -> the partitions that are read of it, for inputs whose partitions are requested.
        inputs: Further inputs of the function, by name.
        image: What the recipe holds of the image that the step runs in; empty for our own.
        run_id: Of the Dagster run.
    """

    step: str
    partitions: tuple[str, ...]
    params: Parameters
    models: Mapping[str, ModelFile] = field(default_factory=dict)
    days: Mapping[str, Sequence[str]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    run_id: str = ""

    def only(self, partitions: Sequence[str]) -> Request:
        """The same for some of the partitions."""
        models = {one: self.models[one] for one in partitions if one in self.models}
        return replace(self, partitions=tuple(partitions), models=models)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Request:
        """Read back what :meth:`to_json` gave."""
        models = {partition: ModelFile(**model) for partition, model in content["models"].items()}
        given = {**content, "partitions": tuple(content["partitions"]), "models": models}
        return cls(**{**given, "params": Parameters.from_json(content["params"])})


@dataclass(frozen=True)
class PartitionResult:
    """How one partition went.

    Attributes:
        partition: Its key.
        metadata: JSON values for people; empty after an error.
        error: The message, or None.
        recipe: What identifies the work.
        files: Name -> SHA-256 of each published file.
    """

    partition: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    recipe: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
