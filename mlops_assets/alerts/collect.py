"""What there is to tell: looks at an instance's runs, decisions and ticks. Which alerts they give others decide."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from mlops_assets.alerts.run_alerts import alert_of_decision, alerts_of_run
from mlops_assets.alerts.tick_alerts import alerts_of_ticks, trouble
from mlops_assets.steps.catalog import UNPARTITIONED

if TYPE_CHECKING:
    from mlops_assets.alerts.message import Alert

MARGIN_SECONDS = 120
"""An event's time is taken before it is written; what was told already is told apart by its key."""

TICK_MARGIN_SECONDS = 900
"""A tick has the time of its start, and may fail long after."""

_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_TOLD = {
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


def alerts_of_runs(instance: dg.DagsterInstance, since: float, begin: float, dagster_url: str) -> list[Alert]:
    """Alerts of the runs that are at work or have changed.

    Args:
        instance: Whose runs.
        since: Runs that have not changed after this time were looked at, in seconds since 1970.
        begin: Nothing that happened before is told.
        dagster_url: Base of links.
    """
    changed = dg.RunsFilter(updated_after=dt.datetime.fromtimestamp(since - MARGIN_SECONDS, dt.timezone.utc))
    both = [*instance.get_runs(dg.RunsFilter(statuses=_AT_WORK)), *instance.get_runs(changed)]
    runs = {run.run_id: run for run in both}  # the later answer is the newer one
    found: list[Alert] = []
    for run in runs.values():
        try:
            found += alerts_of_run(run, instance.all_logs(run.run_id, of_type=_TOLD), dagster_url, begin)
        except Exception as error:  # whatever is wrong with its record, the others are told
            what = f"sensor alerts, looking at run {run.run_id},"
            found.append(trouble(what, f"{type(error).__name__}: {error}", time.time(), dagster_url))
    return found


def alerts_of_decisions(instance: dg.DagsterInstance, since: float, begin: float, dagster_url: str) -> list[Alert]:
    """Alerts of what the gate, or a person, has decided; arguments as of `alerts_of_runs`."""
    after = dg.AssetRecordsFilter(dg.AssetKey(UNPARTITIONED), after_timestamp=max(since - MARGIN_SECONDS, begin))
    found = []
    for record in instance.fetch_materializations(after, limit=1_000).records:
        run = instance.get_run_by_id(record.run_id) if record.run_id else None
        found.append(alert_of_decision(record.event_log_entry, run.tags if run else {}, dagster_url))
    return [alert for alert in found if alert]


def alerts_of_instigators(instance: dg.DagsterInstance, since: float, begin: float, dagster_url: str) -> list[Alert]:
    """Alerts of the schedules and sensors that fail; arguments as of `alerts_of_runs`."""
    after = max(since - TICK_MARGIN_SECONDS, begin)
    return [
        alert
        for state in instance.all_instigator_state()
        for alert in alerts_of_ticks(
            instance.get_ticks(
                state.instigator_origin_id, state.selector_id, after=after, statuses=[TickStatus.FAILURE]
            ),
            dagster_url,
        )
    ]
