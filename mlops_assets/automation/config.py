"""The rules of the cadence, as a user sets them."""

from __future__ import annotations

from dataclasses import dataclass

DOWNLOAD, TRAIN, PROMOTE, PREDICT, RETRAIN = "download", "train", "promote", "predict", "retrain"

MARKER = "_SUCCESS"
"""The file that says that a folder is complete, as Hadoop and Spark write it."""


@dataclass(frozen=True)
class Cadence:
    """When what runs.

    Attributes:
        crons: Job -> cron string, in ``timezone``.
        timezone: In which days begin and end, and of the cron strings.
        start_date: The first day, ``YYYY-MM-DD``.
        marker_only: Whether a delivery is complete only with a marker.
        settle_seconds: How long a delivered file must stay unchanged to be complete.
        catchup_days: How far back days are made by themselves that never were.
        catchup_runs: How many runs of a job may be under way at a time.
        deadline_hours: How long after its time a day may wait until somebody is told.
        sensor_seconds: Between two looks.
        automate: Whether schedules and sensors are on by themselves.
        retries: How often what can heal is tried again.
        retry_seconds: Base of the growing delay before that.
    """

    crons: dict[str, str]
    timezone: str = "UTC"
    start_date: str = "2026-01-01"
    marker_only: bool = False
    settle_seconds: float = 10
    catchup_days: int = 30
    catchup_runs: int = 5
    deadline_hours: float = 6
    sensor_seconds: int = 15
    automate: bool = False
    retries: int = 3
    retry_seconds: float = 30
