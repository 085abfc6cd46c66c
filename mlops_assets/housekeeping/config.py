"""How long Dagster's records are kept, as a user sets it."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_assets.declared import setting


@dataclass(frozen=True)
class Retention:
    """After how many days records are deleted."""

    runs: int = setting(
        90,
        "Days after which finished runs are deleted unless they hold the latest materialization of a partition;"
        " never less than `MLOPS_CATCHUP_DAYS` + 1.",
        name="keep_runs_days",
        ge=1,
        le=36_500,
    )
    logs: int = setting(
        30, "Days after which the output of finished runs is deleted.", name="keep_logs_days", ge=1, le=36_500
    )
