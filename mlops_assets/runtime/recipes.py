"""The recipe of a partition: one identity for its inputs, settings, the version of its step, and a user's image.

It answers whether a partition is done, whether it is stale, and whether its model is registered already.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.steps.declaration import Days, Kind

if TYPE_CHECKING:
    from mlops_assets.runtime.request import Request
    from mlops_assets.steps.declaration import File, Step
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore


@dataclass(frozen=True)
class Ingredients:
    """What a partition is made from.

    Attributes:
        partition: Its key.
        inputs: Path below the data root -> SHA-256 of each input, or the recipe of a model: the bytes of a model's file
            differ from dump to dump.
        settings: Name -> value of the settings that the step declares.
        step: Its name.
        version: Of the step.
        image: Of the image, where it is not ours.
    """

    partition: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    step: str
    version: str
    image: str = ""

    @property
    def recipe(self) -> str:
        """SHA-256 over all of it."""
        content = [
            self.partition,
            self.step,
            self.version,
            self.image,
            sorted(self.inputs.items()),
            sorted(self.settings.items()),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def ingredients(store: LocalStore, step: Step, ds: str, request: Request) -> Ingredients:
    """What a step would make a partition from now.

    Raises:
        MissingPartitionError: An input was never published.
    """
    inputs = {
        store.relative(file.asset, day, file.name): _digest(store, file, day, request)
        for file in step.inputs
        if file.in_recipe and file.kind is not Kind.DELIVERED
        for day in input_partitions(store, file, ds, request)
    }
    return Ingredients(ds, inputs, settings_of(step, request.params), step.name, step.version, request.image)


def settings_of(step: Step, params: Parameters) -> dict[str, Any]:
    """Name -> value of the settings that a step's outputs depend on, as JSON values."""
    values = {name: getattr(params, name) for name in step.settings}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def input_partitions(store: LocalStore, file: File, ds: str, request: Request) -> list[str]:
    """The partitions of an input that are read for a partition; of a window, those that are there."""
    if file.days is Days.OWN:
        return [ds]
    if file.days is Days.REQUESTED:
        return list(request.days[file.asset])
    last = dt.date.fromisoformat(ds)
    days = [(last - dt.timedelta(days=back)).isoformat() for back in range(request.params.train_window_days)]
    return [day for day in reversed(days) if day == ds or store.manifest(file.asset, day)]


def _digest(store: LocalStore, file: File, ds: str, request: Request) -> str:
    if file.kind is Kind.MODEL:
        return request.models[ds].recipe if ds in request.models else store.require(file.asset, ds).recipe
    return store.info(file.asset, ds, file.name).sha256
