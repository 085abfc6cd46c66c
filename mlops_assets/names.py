"""What a pipeline's parts are called in Dagster, so that several pipelines live in one instance.

Without a name (the default) the asset keys are ``raw_data``, ``processed``, … and the jobs ``download``, ``train``, ….
With the name ``churn`` they are ``churn/raw_data``, … and ``churn_download``, …; likewise schedules, sensors and pools.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from mlops_assets.steps.catalog import ASSETS

PIPELINE_TAG = ".dagster/mlops_assets_pipeline"
"""Run tag: the pipeline that a run belongs to; empty for the pipeline without a name."""


@dataclass(frozen=True)
class Names:
    """The names of one pipeline.

    Attributes:
        pipeline: Letters, digits and underscores; empty for the only pipeline of an instance.
    """

    pipeline: str = ""

    def asset_key(self, asset: str) -> dg.AssetKey:
        """The key of an asset."""
        return dg.AssetKey([*self._prefix, asset])

    def of(self, name: str) -> str:
        """The name of a job, schedule, sensor or pool."""
        return "_".join([*self._prefix, name])

    def asset_of(self, key: dg.AssetKey) -> str | None:
        """The asset that a key names; None: it is no asset of this pipeline."""
        *prefix, asset = key.path
        return asset if prefix == self._prefix and asset in ASSETS else None

    def owns(self, run: dg.DagsterRun) -> bool:
        """Whether a run makes assets of this pipeline."""
        if PIPELINE_TAG in run.tags:
            return run.tags[PIPELINE_TAG] == self.pipeline
        if run.asset_selection:
            return any(self.asset_of(key) is not None for key in run.asset_selection)
        # A job of Dagster's own for all assets of a location: the keys are not recorded in the run.
        return not self.pipeline and not run.job_name.startswith("__")

    @property
    def tags(self) -> dict[str, str]:
        """Run tags of the pipeline's jobs and commands."""
        return {PIPELINE_TAG: self.pipeline}

    @property
    def _prefix(self) -> list[str]:
        return [self.pipeline] if self.pipeline else []
