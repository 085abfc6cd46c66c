"""The jobs by name, and when they run as a user sets it."""

from __future__ import annotations

from dataclasses import dataclass

DOWNLOAD, TRAIN, PREDICT, JUDGE = "download", "train", "predict", "judge"

DAILY_JOBS = (DOWNLOAD, TRAIN, PREDICT)
"""The jobs that are started for each day by a schedule and a sensor."""

MARKER = "_SUCCESS"
"""The file that marks a folder as complete, as Hadoop and Spark write it."""


@dataclass(frozen=True)
class AutomationConfig:
    """When what runs.

    Attributes:
        crons: Job -> cron string, in ``timezone``.
        timezone: In which days begin and end, and of the cron strings.
        start_date: The first day, ``YYYY-MM-DD``.
        require_marker: Whether a delivery is complete only with a marker.
        settle_seconds: How long a delivered file must stay unchanged to be complete.
        catchup_days: How many days back missed days are started automatically.
        catchup_runs: Maximum number of automatic runs of a job at a time.
        deadline_hours: Hours after which a day that is due and still missing is reported as late.
        sensor_seconds: Seconds between two evaluations of a sensor.
        automate: Whether schedules and sensors are on without being switched on in the UI.
        retries: How often a step is retried after a retryable error.
        retry_seconds: Base delay before a retry; grows exponentially.
    """

    crons: dict[str, str]
    timezone: str = "UTC"
    start_date: str = "2026-01-01"
    require_marker: bool = False
    settle_seconds: float = 10
    catchup_days: int = 30
    catchup_runs: int = 5
    deadline_hours: float = 6
    sensor_seconds: int = 30
    automate: bool = False
    retries: int = 3
    retry_seconds: float = 30


def schedule_name(job: str) -> str:
    """The schedule of a job, without the pipeline's name."""
    return f"{job}_schedule"


def sensor_name(job: str) -> str:
    """The sensor of a job, without the pipeline's name."""
    return f"{job}_when_ready"
