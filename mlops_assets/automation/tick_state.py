"""A schedule and a sensor that start the same job never decide at the same time: each would miss the other's runs.

Dagster notes a tick before it evaluates it, and its end when the runs are made. So of two that look at each other's
last tick at least one sees the other at work, and leaves the decision to it or to the sensor's next look.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, TickStatus


def is_deciding(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether the schedule or sensor of that name is evaluating, or making the runs that it asked for."""
    state = _state(instance, name)
    if state is None or not state.is_running:
        return False
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    return bool(ticks) and ticks[0].status is TickStatus.STARTED


def is_on(instance: dg.DagsterInstance, name: str, *, by_default: bool) -> bool:
    """Whether a schedule or sensor is switched on."""
    state = _state(instance, name)
    return by_default if state is None else state.is_running


def _state(instance: dg.DagsterInstance, name: str) -> InstigatorState | None:
    return next((state for state in instance.all_instigator_state() if state.instigator_name == name), None)
