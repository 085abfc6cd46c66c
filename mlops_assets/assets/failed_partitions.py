"""Days that a run over many days could not make: they are left out from there on, and the run fails at its end.

Dagster knows steps that fail and steps that succeed. A step that failed for one day of many would end the other days,
too; so it succeeds for the days that were made, and the last step of the run fails, naming what was lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.tags import EXTERNALLY_MANAGED_ASSETS_TAG

from mlops_assets.steps.catalog import ASSETS, days_come_from

LOST_TAG = "mlops_assets/lost_days"
"""Run tag: JSON, ``{"run": run id, "of": number of days, "days": {asset: {day: message}}}``."""

_DAYS_NAMED = 10
_ALIKE = 80
"""Messages that begin alike tell of the same thing: a check that stops a day stops all that is made of it."""

_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
}


@dataclass(frozen=True)
class LostDays:
    """What a run could not make.

    Attributes:
        days: Asset -> day -> message.
        of: How many days the run is for.
    """

    days: Mapping[str, Mapping[str, str]]
    of: int

    def before(self, asset: str) -> set[str]:
        """The days that an asset cannot have, because something that it is made from was lost."""
        return {ds for upstream in days_come_from(asset) for ds in self.days.get(upstream, {})}

    def failure(self) -> dg.Failure:
        """Dagster's failure, which names each lost day once, with the reasons."""
        reasons: dict[str, dict[str, tuple[str, list[str]]]] = {}  # day -> how a message begins -> message, assets
        for asset in ASSETS:
            for ds, message in self.days.get(asset, {}).items():
                same = reasons.setdefault(ds, {}).setdefault(message[:_ALIKE], (message, []))
                same[1].append(asset)
        lines = [
            f"{ds} " + "; ".join(f"({', '.join(assets)}): {message}" for message, assets in reasons[ds].values())
            for ds in sorted(reasons)
        ]
        more = f"\n… and {len(lines) - _DAYS_NAMED} more" if len(lines) > _DAYS_NAMED else ""
        shown = "\n".join(lines[:_DAYS_NAMED])
        again = "\nMend them and start all steps again: days that are done are not made again." if self.of > 1 else ""
        text = f"{len(lines)} of {self.of} days could not be made:\n{shown}{more}{again}"
        return dg.Failure(text, allow_retries=False)  # the input is as it is: trying again cannot help


def lost_days(context: dg.AssetExecutionContext) -> LostDays:
    """What this run has lost so far."""
    run = context.instance.get_run_by_id(context.run.run_id)
    recorded = json.loads(run.tags.get(LOST_TAG, "{}")) if run else {}
    # Tags are handed on to a run that is executed again: what was lost stays lost if only some steps are.
    goes_on = context.run.step_keys_to_execute is not None and recorded.get("run") == context.run.parent_run_id
    if not recorded or not (goes_on or recorded["run"] == context.run.run_id):
        return LostDays({}, 0)
    return LostDays(recorded["days"], recorded["of"])


def lose_days(context: dg.AssetExecutionContext, asset: str, messages: Mapping[str, str], of: int) -> LostDays:
    """Leave these days out from here on."""
    lost = LostDays({**lost_days(context).days, asset: messages}, of)
    content = {"run": context.run.run_id, "of": of, "days": lost.days}
    context.instance.add_run_tags(context.run.run_id, {LOST_TAG: json.dumps(content, ensure_ascii=False)})
    return lost


def is_last_step(context: dg.AssetExecutionContext) -> bool:
    """Whether nothing of the run comes after this step."""
    selected = {key.path[-1] for key in context.job_def.asset_layer.executable_asset_keys}
    planned = selected & set(context.run.step_keys_to_execute or selected)
    records = context.instance.get_records_for_run(context.run.run_id, of_type=_ENDS).records
    over = {record.event_log_entry.dagster_event.step_key for record in records if record.event_log_entry.dagster_event}
    return not planned - over - {context.asset_key.path[-1]}


def report_days_by_hand(context: dg.AssetExecutionContext, by_hand: bool) -> None:
    """Whether the step itself tells Dagster which days it made.

    By itself Dagster takes all days of the run for made when the step succeeds. This system tag turns that off; it is
    looked at in this process, when the step ends.
    """
    tags: dict[str, str] = context.run.tags  # type: ignore[assignment]  # a mapping for others, a dict in truth
    tags.pop(EXTERNALLY_MANAGED_ASSETS_TAG, None)
    if by_hand:
        tags[EXTERNALLY_MANAGED_ASSETS_TAG] = "true"
