"""Alerts for sensors and schedules whose tick failed: one for each of them, error and day, not one every 15 seconds."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_assets.alerts.message import TICK, Alert, alert, first_lines
from mlops_assets.assets.failures import root_message

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorTick

_VARIES = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
"""Times, ports, addresses: the same error has others every time."""


def alerts_of_ticks(ticks: Sequence[InstigatorTick], dagster_url: str) -> list[Alert]:
    """The alerts that failed ticks give."""
    return [
        trouble(
            f"{tick.instigator_type.value.lower()} {tick.instigator_name}",
            root_message(tick.error),
            tick.timestamp,
            dagster_url,
        )
        for tick in ticks
    ]


def trouble(who: str, message: str, time: float, dagster_url: str) -> Alert:
    """The alert that something which watches or starts runs has failed."""
    day = dt.datetime.fromtimestamp(time, dt.timezone.utc).date()
    digest = hashlib.sha256(_VARIES.sub("#", message).encode()).hexdigest()[:16]
    facts = [first_lines(message), "This error is told once a day."]
    return alert(f"{TICK}/{who}/{digest}/{day}", TICK, f"{who} failed", facts, [f"{dagster_url}/automation"])
