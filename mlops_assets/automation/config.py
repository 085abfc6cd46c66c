"""The jobs by name, and when they run as a user sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from mlops_assets.declared import setting
from mlops_assets.steps.parameters import Parameters

DOWNLOAD, TRAIN, PREDICT, JUDGE = "download", "train", "predict", "judge"

DAILY_JOBS = (DOWNLOAD, TRAIN, PREDICT)
"""The jobs that are started for each day by a schedule and a sensor."""

MARKER = "_SUCCESS"
"""The file that marks a folder as complete, as Hadoop and Spark write it."""


def _cron(value: str) -> str:
    # Only for values other than the defaults: importing Dagster takes a second.
    import dagster as dg

    try:
        dg.ScheduleDefinition(name="check", job_name="check", cron_schedule=value)
    except dg.DagsterInvalidDefinitionError:
        raise ValueError(
            "expected a cron string: minute, hour, day of month, month, day of week, such as 30 0 * * *"
        ) from None
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected a name of the IANA time zone database, such as UTC or Europe/Berlin") from None
    return value


@dataclass(frozen=True)
class AutomationConfig:
    """When what runs.

    Attributes:
        start_date: The first day, ``YYYY-MM-DD``; set with the parameters of the steps.
    """

    automate: bool = setting(False, "Turn schedules and sensors on without switching them on in Dagster's UI.")
    timezone: str = setting(
        "UTC",
        "Time zone of the days and of the cron strings, such as `Europe/Berlin`.",
        section="Project",
        check=_timezone,
    )
    download_cron: str = setting("15 0 * * *", "When the last day's raw data are due.", check=_cron)
    predict_cron: str = setting("30 0 * * *", "When the last day is scored.", check=_cron)
    train_cron: str = setting("0 2 * * 1", "When a model is trained on the last day.", check=_cron)
    judge_cron: str = setting("0 5 * * *", "When the gate judges versions that are not judged yet.", check=_cron)
    ready_when: Literal["unchanged", "marker"] = setting(
        "unchanged",
        f"When delivered files are complete: `unchanged` for a while or with a file `{MARKER}` beside them; or only"
        " with this `marker`.",
    )
    settle_seconds: float = setting(
        10, "Seconds for which delivered files must stay unchanged to be complete.", ge=0, le=86_400
    )
    catchup_days: int = setting(30, "How many days back missed days are started automatically.", ge=1, le=36_500)
    catchup_runs: int = setting(
        5, "Maximum number of automatic runs of a job at a time, oldest day first.", ge=1, le=1_000
    )
    deadline_hours: float = setting(
        6, "Send a `late` alert when a day is still missing this many hours after it was due.", gt=0, le=8_760
    )
    retries: int = setting(3, "How often a step is retried after an error that may pass.", ge=0, le=100)
    retry_seconds: float = setting(
        30, "Base delay before a retry in seconds; grows exponentially (about 1, 3, 7 times).", gt=0, le=86_400
    )
    sensor_seconds: int = setting(30, "Seconds between two evaluations of a sensor.", ge=1, le=3_600)
    start_date: str = Parameters.start_date

    @property
    def crons(self) -> Mapping[str, str]:
        """Job -> cron string, in ``timezone``."""
        return {
            DOWNLOAD: self.download_cron,
            TRAIN: self.train_cron,
            PREDICT: self.predict_cron,
            JUDGE: self.judge_cron,
        }

    @property
    def require_marker(self) -> bool:
        """Whether a delivery is complete only with a marker."""
        return self.ready_when == "marker"


def schedule_name(job: str) -> str:
    """The schedule of a job, without the pipeline's name."""
    return f"{job}_schedule"


def sensor_name(job: str) -> str:
    """The sensor of a job, without the pipeline's name."""
    return f"{job}_when_ready"
