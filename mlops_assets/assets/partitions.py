"""The days: one partition key is one ``{{ ds }}`` of Airflow."""

from __future__ import annotations

import datetime as dt

import dagster as dg

PARTITION_TAG = "dagster/partition"
"""Run tag of Dagster: the day of a run over one."""

RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Run tags of Dagster: the first and the last day of a run over several."""


def daily_partitions(start_date: dt.date | str, timezone: str = "UTC") -> dg.DailyPartitionsDefinition:
    """All days from ``start_date`` to yesterday, in a time zone."""
    return dg.DailyPartitionsDefinition(start_date=str(start_date), timezone=timezone)
