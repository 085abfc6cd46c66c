"""The sensor ``alerts``: reads what is new in Dagster's storage, queues it in the outbox, delivers what is queued.

The run, the code server and the daemon may be killed at any time: what happened is in Dagster's storage and what was
queued is in the outbox, so the next tick continues.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.alerts.collect import alert_of_judgement, alert_of_tick, alerts_of_run, is_judgement, trouble
from mlops_assets.alerts.failed_ticks import failed_ticks, location_of
from mlops_assets.alerts.message import OLD_MODEL

if TYPE_CHECKING:
    from mlops_assets.alerts.channels import Channels
    from mlops_assets.alerts.message import Alert
    from mlops_assets.alerts.outbox import Delivered, Outbox
    from mlops_assets.names import Names

LOOK_BACK_SECONDS = 7 * 86_400
"""After a longer time with the sensor off, what happened before this is not sent."""

MARGIN_SECONDS = 120
"""An event gets its time before it is written; what is read twice is recognised by its key."""

LOOK_AT_MODEL_SECONDS = 3_600
"""How often MLflow is asked for the model that predicts."""

TICK_MARGIN_SECONDS = 900
"""A tick has the time of its start and may fail long after."""

_LATE_DATA, _MODEL = _STATES = "late data", "the model that predicts"
"""Sources that are read anew each time, whatever was read before."""

_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_READ = {
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


@dataclass(frozen=True)
class Alerting:
    """What is sent where.

    Attributes:
        names: Of the pipeline whose runs, judgements and ticks are reported.
        outbox: The queue; a file for this pipeline alone.
        channels: The targets.
        kinds: The kinds of alerts that are sent.
        dagster_url: Base of links to Dagster's UI.
        seconds: Between two ticks.
        late: The alerts about data that are late now; called at every tick.
        old_model: The alert about a model that has served for too long; called once an hour.
    """

    names: Names
    outbox: Outbox
    channels: Channels
    kinds: frozenset[str]
    dagster_url: str
    seconds: int
    late: Callable[[dg.DagsterInstance], list[Alert]] = lambda _instance: []
    old_model: Callable[[dt.datetime], list[Alert]] = lambda _now: []


def build_alert_sensors(alerting: Alerting | None) -> list[dg.SensorDefinition]:
    """The sensor ``alerts``; none without targets."""
    if alerting is None:
        return []

    @dg.sensor(
        name=alerting.names.of("alerts"),
        description="Sends alerts: failures, failed checks, late data, promotions, an old model (MLOPS_ALERT_URLS).",
        minimum_interval_seconds=alerting.seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor, new = _collect(alerting, context)
        context.update_cursor(cursor)
        done = alerting.outbox.deliver(alerting.channels.targets)
        for line in done.failed:
            context.log.error(line)
        return dg.SkipReason(_summary(new, done))

    return [alerts_sensor]


def _collect(alerting: Alerting, context: dg.SensorEvaluationContext) -> tuple[str, int]:
    """Queue what is new.

    A source that cannot be read gives an alert, does not stop the others, and is read from the same time at the next
    tick.

    Returns:
        The cursor for the next tick, and how many alerts were new.
    """
    now = time.time()
    seen = json.loads(context.cursor) if context.cursor else {"begin": now, "until": now}
    since, begin = max(seen["until"], now - LOOK_BACK_SECONDS), seen["begin"]
    instance, names, url = context.instance, alerting.names, alerting.dagster_url.rstrip("/")
    sources: dict[str, Callable[[], list[Alert]]] = {
        "runs": lambda: _alerts_of_runs(instance, names, since, begin, url),
        "judgements": lambda: _alerts_of_judgements(instance, names, since, begin, url),
        "ticks": lambda: [
            alert_of_tick(tick, url)
            for tick in failed_ticks(instance, location_of(context), max(since - TICK_MARGIN_SECONDS, begin))
        ],
        _LATE_DATA: lambda: alerting.late(instance),
    }
    is_due = not context.cursor or int(since / LOOK_AT_MODEL_SECONDS) != int(now / LOOK_AT_MODEL_SECONDS)
    if is_due and OLD_MODEL in alerting.kinds:
        sources[_MODEL] = lambda: alerting.old_model(dt.datetime.fromtimestamp(now, dt.timezone.utc))
    found, until = [], now
    for name, source in sources.items():
        try:
            found += source()
        except Exception as error:  # whatever it is, the others are sent
            message = f"{type(error).__name__}: {error}"
            context.log.exception(f"The sensor {names.of('alerts')} cannot read {name}: {message}")
            found.append(trouble(f"sensor {names.of('alerts')}, reading {name},", message, now, url))
            until = until if name in _STATES else since
    wanted = [one for one in found if one.kind in alerting.kinds]
    new = alerting.outbox.add(wanted, alerting.channels.targets, now)
    return json.dumps({"begin": begin, "until": until}), new


def _alerts_of_runs(instance: dg.DagsterInstance, names: Names, since: float, begin: float, url: str) -> list[Alert]:
    """Of the pipeline's runs that are unfinished or changed after ``since``; events before ``begin`` give none."""
    changed = dg.RunsFilter(updated_after=dt.datetime.fromtimestamp(since - MARGIN_SECONDS, dt.timezone.utc))
    both = [*instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)), *instance.get_runs(changed)]
    runs = {run.run_id: run for run in both if names.owns(run)}  # the later answer is the newer one
    found: list[Alert] = []
    for run in runs.values():
        try:
            found += alerts_of_run(run, instance.all_logs(run.run_id, of_type=_READ), url, begin)
        except Exception as error:  # whatever is wrong with its record, the others are sent
            who = f"sensor {names.of('alerts')}, reading run {run.run_id},"
            found.append(trouble(who, f"{type(error).__name__}: {error}", time.time(), url))
    return found


def _alerts_of_judgements(
    instance: dg.DagsterInstance, names: Names, since: float, begin: float, url: str
) -> list[Alert]:
    after = dg.AssetRecordsFilter(
        names.asset_key("production_model"), after_timestamp=max(since - MARGIN_SECONDS, begin)
    )
    return [alert_of_judgement(event, url) for event in _materializations(instance, after) if is_judgement(event)]


def _materializations(instance: dg.DagsterInstance, after: dg.AssetRecordsFilter) -> Iterator[dg.EventLogEntry]:
    """All of them: a backfill records one a day, and the judgement is at the last."""
    cursor, more = None, True
    while more:
        page = instance.fetch_materializations(after, limit=1_000, cursor=cursor)
        yield from (record.event_log_entry for record in page.records)
        cursor, more = page.cursor, page.has_more


def _summary(new: int, done: Delivered) -> str:
    counts = f"{new} new, {done.sent} delivered, {len(done.failed)} not delivered."
    return "\n".join([counts if new or done.sent or done.failed else "Nothing new.", *done.failed])
