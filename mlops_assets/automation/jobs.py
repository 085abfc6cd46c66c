"""The jobs: which assets belong to which cadence."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from mlops_assets.automation.config import DOWNLOAD, PREDICT, PROMOTE, RETRAIN, TRAIN

ASSETS_OF_JOBS = {
    DOWNLOAD: ("raw_data",),
    TRAIN: ("processed", "split", "model", "metrics"),
    PROMOTE: ("production_model",),
    PREDICT: ("predictions",),
    RETRAIN: ("processed", "split", "model", "metrics", "production_model"),
}

_DESCRIPTIONS = {
    DOWNLOAD: "A day's raw data: generated, or registered once they are delivered.",
    TRAIN: "A model for a day and its scores.",
    PROMOTE: "The gate: the newest model goes to production if it is better.",
    PREDICT: "A day scored by the model in production.",
    RETRAIN: "Models for a range of past days, in one run, and the gate over the newest. Launch it as a backfill.",
}


def build_jobs() -> dict[str, UnresolvedAssetJobDefinition]:
    """All jobs by name."""
    return {
        name: dg.define_asset_job(name, selection=dg.AssetSelection.assets(*assets), description=_DESCRIPTIONS[name])
        for name, assets in ASSETS_OF_JOBS.items()
    }
