"""Failed ticks of schedules and sensors, read through classes that Dagster does not export.

Dagster has no public API for ticks. Private here: ``TickStatus``, the attributes of instigator states and ticks, and a
sensor context's ``code_location_origin``. Checked with Dagster 1.13; ``tests/alerts/test_failed_ticks.py`` fails when
they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster._core.scheduler.instigation import TickStatus

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo


@dataclass(frozen=True)
class FailedTick:
    """An evaluation of a schedule or sensor that raised.

    Attributes:
        kind: ``schedule`` or ``sensor``.
        name: Of the schedule or sensor.
        time: Its start, in seconds since 1970.
        error: What was raised.
    """

    kind: str
    name: str
    time: float
    error: SerializableErrorInfo | None


def failed_ticks(instance: dg.DagsterInstance, location: str | None, after: float) -> list[FailedTick]:
    """The failed ticks of a code location.

    Args:
        instance: Dagster's.
        location: Name of the code location; None: of all.
        after: Ticks that started after this time, in seconds since 1970.
    """
    return [
        FailedTick(state.instigator_type.value.lower(), state.instigator_name, tick.timestamp, tick.error)
        for state in instance.all_instigator_state()
        if location in {None, state.repository_selector.location_name}
        for tick in instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=after, statuses=[TickStatus.FAILURE]
        )
    ]


def location_of(context: dg.SensorEvaluationContext) -> str | None:
    """The code location that evaluates a sensor; None outside of one, as in a test."""
    origin = context.code_location_origin
    return origin.location_name if origin else None
