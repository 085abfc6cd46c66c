"""What identifies the inputs of a step for a day: the digests of the published files, and of the settings."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING

from mlops_assets.steps.declaration import Kind

if TYPE_CHECKING:
    from mlops_assets.steps.declaration import File, Step
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore

_SHORT_DIGEST = 16


def input_digests(store: LocalStore, params: Parameters, step: Step, ds: str) -> dict[str, str]:
    """Path below the data root -> digest of each published file that a step reads for a day.

    Raises:
        MissingPartitionError: One of them was never published.
    """
    return {
        store.relative(file.asset, day, file.name): input_digest(store, file, day)
        for file in step.inputs
        if file.kind is not Kind.DELIVERED
        for day in input_days(store, params, file, ds)
    }


def input_digest(store: LocalStore, file: File, ds: str) -> str:
    """What identifies an input: of a model its fitted content, because skops writes other bytes each time."""
    if file.kind is Kind.MODEL:
        return str(store.require(file.asset, ds).metadata["model_digest"])
    return store.info(file.asset, ds, file.name).sha256


def input_days(store: LocalStore, params: Parameters, file: File, ds: str) -> list[str]:
    """The day; for a window, its days that are there: the last one must be."""
    if not file.window:
        return [ds]
    last = dt.date.fromisoformat(ds)
    days = [(last - dt.timedelta(days=back)).isoformat() for back in range(params.train_window_days)]
    return [day for day in reversed(days) if day == ds or store.manifest(file.asset, day)]


def settings_digest(step: Step, params: Parameters) -> str:
    """What identifies the settings that a step's outputs depend on."""
    values = {name: getattr(params, name) for name in step.settings}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:_SHORT_DIGEST]
