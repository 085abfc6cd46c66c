"""The timer of the gate: judges versions that no training run has judged (it was killed, or they are undecided)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import dagster as dg

from mlops_assets.automation.config import JUDGE
from mlops_assets.automation.decision import trigger_of
from mlops_assets.automation.launcher import Launcher
from mlops_assets.automation.run_lookup import TRIGGER_TAG, attempts
from mlops_assets.automation.schedules import cron_schedule


def build_judge_schedule(
    launcher: Launcher, unjudged: Callable[[], tuple[Sequence[int], str]]
) -> dg.ScheduleDefinition:
    """The schedule of ``production_model`` alone; one run for each set of unjudged versions.

    Args:
        launcher: For calendar and names.
        unjudged: The numbers of the versions that the gate has to judge, and what it would judge them on.
    """
    name = launcher.names.of(JUDGE)

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = launcher.calendars[JUDGE].last_day(context.scheduled_execution_time)
        if day is None:
            return dg.SkipReason(f"No day has ended since {launcher.config.start_date} (MLOPS_START_DATE).")
        numbers, basis = unjudged()
        versions = ",".join(str(version) for version in sorted(numbers))
        if not versions:
            return dg.SkipReason("All model versions are judged.")
        trigger = trigger_of(name, "versions", f"{versions}/{basis}")
        attempt = attempts(context.instance, [trigger], dt.datetime.now(dt.timezone.utc)).get(trigger)
        if attempt is not None and not attempt.may_repeat:
            return dg.SkipReason(f"Versions {versions}: {attempt.outcome}")
        count = 0 if attempt is None else attempt.count
        return dg.RunRequest(f"{trigger}/{count}", partition_key=day.isoformat(), tags={TRIGGER_TAG: trigger})

    return cron_schedule(
        launcher.config, launcher.names, JUDGE, evaluate, "Starts the gate if there are model versions to judge."
    )
