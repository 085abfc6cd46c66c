"""The jobs: which assets run together."""

from __future__ import annotations

import dagster as dg

from mlops_assets.automation.config import DOWNLOAD, JUDGE, PREDICT, TRAIN
from mlops_assets.housekeeping.dagster_internals import AssetJob
from mlops_assets.names import Names

ASSETS_OF_JOBS = {
    DOWNLOAD: ("raw_data",),
    TRAIN: ("processed", "split", "model", "metrics", "production_model"),
    PREDICT: ("production_model", "predictions"),
    JUDGE: ("production_model",),
}

_DESCRIPTIONS = {
    DOWNLOAD: "A day's raw data: generated, or registered once they are delivered.",
    TRAIN: "A model for a day and its scores; the gate promotes it if it is better. For past days: a backfill.",
    PREDICT: "A day scored by the model in production.",
    JUDGE: "The gate alone: judges the model versions that were not judged yet.",
}

_PRIORITIES = {DOWNLOAD: "10", PREDICT: "10"}
"""In the run queue; all other runs have 0. Predictions need the day's data first."""


def build_jobs(names: Names) -> list[AssetJob]:
    """All jobs of a pipeline."""
    return [_job(names, name, assets) for name, assets in ASSETS_OF_JOBS.items()]


def _job(names: Names, name: str, assets: tuple[str, ...]) -> AssetJob:
    priority = {"dagster/priority": _PRIORITIES[name]} if name in _PRIORITIES else {}
    return dg.define_asset_job(
        names.of(name),
        selection=dg.AssetSelection.assets(*(names.asset_key(asset) for asset in assets)),
        description=_DESCRIPTIONS[name],
        tags={**names.tags, **priority},
    )
