"""The sensor that tells people: what is new goes into the outbox, what is in the outbox is delivered.

A run, its process and the daemon may be killed at any time: what happened is in Dagster's storage, what was told in the
outbox, and each look goes from one to the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.alerts.collect import alerts_of_decisions, alerts_of_instigators, alerts_of_runs
from mlops_assets.alerts.delivery import Delivered, deliver
from mlops_assets.alerts.tick_alerts import trouble

if TYPE_CHECKING:
    from mlops_assets.alerts.channels import Channels
    from mlops_assets.alerts.message import Alert
    from mlops_assets.alerts.outbox import Outbox

LOOK_BACK_SECONDS = 7 * 86_400
"""When the sensor was off for longer, what happened before is not told any more."""


@dataclass(frozen=True)
class Alerting:
    """Whom to tell what.

    Attributes:
        outbox: Where alerts are until they are delivered.
        channels: Where they go.
        kinds: Which of them.
        dagster_url: Base of links to Dagster's UI.
        seconds: Between two looks.
        late: The alerts about data that are late now; asked at every look.
    """

    outbox: Outbox
    channels: Channels
    kinds: frozenset[str]
    dagster_url: str
    seconds: int
    late: Callable[[dg.DagsterInstance], list[Alert]] = lambda _instance: []


def build_alert_sensors(alerting: Alerting | None) -> list[dg.SensorDefinition]:
    """The sensor ``alerts``; none if there is nobody to tell."""
    if alerting is None:
        return []

    @dg.sensor(
        name="alerts",
        description="Tells about failures, failed checks, late data and promotions (MLOPS_ALERT_URLS, MLOPS_ALERT_ON).",
        minimum_interval_seconds=alerting.seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor, new = look(alerting, context.instance, context.cursor, context.log.error)
        context.update_cursor(cursor)
        done = deliver(alerting.outbox, alerting.channels)
        for line in done.failed:
            context.log.error(line)
        return dg.SkipReason(_summary(new, done))

    return [alerts_sensor]


def look(
    alerting: Alerting, instance: dg.DagsterInstance, cursor: str | None, log_error: Callable[[str], None]
) -> tuple[str, int]:
    """Put what is new into the outbox.

    A source that cannot be read is told about and read from the same time on at the next look; it does not stop the
    others.

    Returns:
        The cursor for the next look, and how many alerts were new.
    """
    now = time.time()
    seen = json.loads(cursor) if cursor else {"begin": now, "until": now}
    since = max(seen["until"], now - LOOK_BACK_SECONDS)
    url = alerting.dagster_url.rstrip("/")
    sources: dict[str, Callable[[], list[Alert]]] = {
        one.__name__: partial(one, instance, since, seen["begin"], url)
        for one in (alerts_of_runs, alerts_of_decisions, alerts_of_instigators)
    }
    found, failed = [], set()
    late: Callable[[], list[Alert]] = partial(alerting.late, instance)
    for name, source in {**sources, "late": late}.items():
        try:
            found += source()
        except Exception as error:  # whatever it is, the others are told
            failed.add(name)
            what = "late data" if name == "late" else name.removeprefix("alerts_of_")
            message = f"{type(error).__name__}: {error}"
            log_error(f"The sensor alerts cannot look at {what}: {message}")
            found.append(trouble(f"sensor alerts, looking at {what},", message, now, url))
    wanted = [one for one in found if one.kind in alerting.kinds]
    new = alerting.outbox.add(wanted, alerting.channels.ids, now)
    until = since if failed & sources.keys() else now
    return json.dumps({"begin": seen["begin"], "until": until}), new


def _summary(new: int, done: Delivered) -> str:
    counts = f"{new} new, {done.sent} delivered, {len(done.failed)} not delivered."
    return "\n".join([counts if new or done.sent or done.failed else "Nothing to tell.", *done.failed])
