"""The days: one partition key is one ``{{ ds }}`` of Airflow."""

from __future__ import annotations

import datetime as dt

import dagster as dg


def daily_partitions(start_date: dt.date | str, timezone: str = "UTC") -> dg.DailyPartitionsDefinition:
    """All days from ``start_date`` to yesterday, in a time zone."""
    return dg.DailyPartitionsDefinition(start_date=str(start_date), timezone=timezone)
