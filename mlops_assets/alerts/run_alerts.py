"""Which alerts a run gives, and what they say: its failure, its retries, its failed checks, the gate's decisions.

Pure: from what Dagster has recorded to texts. What is told is read from the events.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_assets.alerts.message import CHECK, FAILURE, PROMOTION, REJECTION, RETRY, Alert, alert, first_lines
from mlops_assets.assets.failures import MLFLOW_RUN_URL_TAG, message_of_step, partitions_of, root_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dagster as dg

_IMPLICIT_JOB = "__"
"""Jobs that Dagster makes for a selection of assets begin like this."""

_WILL_RETRY_TAG = "dagster/will_retry"
_NAMED = 5


def alerts_of_run(
    run: dg.DagsterRun, events: Sequence[dg.EventLogEntry], dagster_url: str, since: float = 0.0
) -> list[Alert]:
    """The alerts that a run gives.

    Args:
        run: The run.
        events: Its failures, retries and check evaluations, all of them, oldest first.
        dagster_url: Base of links to Dagster's UI.
        since: What happened before (in seconds since 1970) is not told.
    """
    links = _links(run.run_id, run.tags, dagster_url)
    found = [*_retries(run, events, links), *_failure(run, events, links)]
    if run.is_finished:  # a check may be evaluated for many days: one alert for all of them
        found += _checks(run, events, links)
    return [one for time, one in found if time >= since]


def alert_of_decision(
    event: dg.EventLogEntry, tags: Mapping[str, str], dagster_url: str, asset: str = "production_model"
) -> Alert | None:
    """The alert that a materialization of the production model gives; none if no new model was judged.

    Args:
        event: The materialization.
        tags: Of its run; empty for a decision by hand, which has none.
        dagster_url: Base of links to Dagster's UI.
        asset: The asset's name.
    """
    facts = {name: value.value for name, value in event.asset_materialization.metadata.items()}  # type: ignore[union-attr]
    promoted = bool(facts.get("promoted"))
    new = facts.get("to_version", facts.get("challenger_version"))
    old = facts.get("from_version", facts.get("champion_version"))
    if not promoted and new == old:
        return None
    links = _links(event.run_id, tags, dagster_url) if event.run_id else [f"{dagster_url}/assets/{asset}"]
    links += [f"Model: {facts['model_version_url']}"] if "model_version_url" in facts else []
    lines = [first_lines(str(facts.get("reason", ""))), *_scores(facts)]
    lines += [f"By: {facts['by']}"] if "by" in facts else []
    serving = f"version {old}" if old else "nothing"
    title = f"Version {new} went to production" if promoted else f"Version {new} was rejected, {serving} stays"
    kind = PROMOTION if promoted else REJECTION
    key = f"{kind}/{event.run_id or 'by hand'}/{event.timestamp}"
    return alert(key, kind, title, [*([f"Before: {serving}"] if promoted else []), *filter(None, lines)], links)


def _failure(run: dg.DagsterRun, events: Sequence[dg.EventLogEntry], links: list[str]) -> Iterator[tuple[float, Alert]]:
    ends = [one for one in events if _type(one) == "PIPELINE_FAILURE"]
    if not ends:
        return
    steps = [one.dagster_event for one in events if _type(one) == "STEP_FAILURE" and one.dagster_event]
    lines = [f"Step {step.step_key}: {first_lines(message_of_step(step))}" for step in steps[:_NAMED]]
    lines += [f"… and {len(steps) - _NAMED} more steps"] if len(steps) > _NAMED else []
    retried = run.tags.get(_WILL_RETRY_TAG)
    lines += ["Dagster will retry the run." if retried == "true" else "It is not retried."] if retried else []
    text = [*_about(run), *(lines if steps else [_reason(ends[0]), *lines])]
    yield ends[0].timestamp, alert(f"{FAILURE}/{run.run_id}", FAILURE, f"{_name(run)} failed", text, links)


def _reason(end: dg.EventLogEntry) -> str:
    """Why a run failed in which no step did: a resource could not be made, its process was killed."""
    event = end.dagster_event
    error = event.job_failure_data.error if event and event.event_specific_data else None
    return first_lines(root_message(error) if error else (event and event.message) or "failed without a message")


def _retries(run: dg.DagsterRun, events: Sequence[dg.EventLogEntry], links: list[str]) -> Iterator[tuple[float, Alert]]:
    attempts: Counter[str] = Counter()
    for one in events:
        if _type(one) != "STEP_UP_FOR_RETRY" or one.dagster_event is None:
            continue
        step = str(one.dagster_event.step_key)
        attempts[step] += 1
        data = one.dagster_event.step_retry_data
        pause = f"It is tried again in {data.seconds_to_wait:.0f} s." if data.seconds_to_wait else "It is tried again."
        text = [*_about(run), f"Step {step}, attempt {attempts[step]}: {first_lines(root_message(data.error))}", pause]
        key = f"{RETRY}/{run.run_id}/{step}/{attempts[step]}"
        yield one.timestamp, alert(key, RETRY, f"{_name(run)}: {step} is retried", text, links)


def _checks(run: dg.DagsterRun, events: Sequence[dg.EventLogEntry], links: list[str]) -> Iterator[tuple[float, Alert]]:
    failed: dict[tuple[str, str], list[Any]] = {}
    times: dict[tuple[str, str], float] = {}
    for one in events:
        if _type(one) != "ASSET_CHECK_EVALUATION" or one.dagster_event is None:
            continue
        data = one.dagster_event.asset_check_evaluation_data
        name = data.asset_key.to_user_string(), data.check_name
        if not data.passed:
            failed.setdefault(name, []).append(data)
            times[name] = one.timestamp
    for (asset, check), found in failed.items():
        lines = [
            ": ".join(filter(None, (one.partition or partitions_of(run.tags), first_lines(one.description or ""))))
            for one in found[:_NAMED]
        ]
        lines += [f"… and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
        severity = "ERROR" if any(one.severity.value == "ERROR" for one in found) else "WARN"
        text = [f"Asset: {asset}", f"Check: {check}, severity {severity}", *filter(None, lines), *_about(run)[:1]]
        title = " ".join(
            filter(None, (f"Check {check} of {asset} failed", found[0].partition or partitions_of(run.tags)))
        )
        key = f"{CHECK}/{run.run_id}/{asset}/{check}"
        yield times[asset, check], alert(key, CHECK, title, text, links)


def _scores(facts: Mapping[str, Any]) -> Iterator[str]:
    metric = facts.get("gate_metric", "score")
    for name in ("challenger", "champion"):
        if f"{name}_score" in facts:
            yield f"{metric} of the {name}, version {facts.get(f'{name}_version')}: {facts[f'{name}_score']:.4f}"


def _name(run: dg.DagsterRun) -> str:
    return " ".join(filter(None, (_job(run), partitions_of(run.tags))))


def _about(run: dg.DagsterRun) -> list[str]:
    days = partitions_of(run.tags)
    return [f"Job: {_job(run)}", *([f"Partition: {days}"] if days else [])]


def _job(run: dg.DagsterRun) -> str:
    if not run.job_name.startswith(_IMPLICIT_JOB):
        return run.job_name
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    return ", ".join(assets[:_NAMED]) + (", …" if len(assets) > _NAMED else "") or "materialization"


def _links(run_id: str, tags: Mapping[str, str], dagster_url: str) -> list[str]:
    mlflow = tags.get(MLFLOW_RUN_URL_TAG)
    return [f"Run: {dagster_url}/runs/{run_id}", *([f"MLflow: {mlflow}"] if mlflow else [])]


def _type(entry: dg.EventLogEntry) -> str | None:
    return entry.dagster_event.event_type_value if entry.dagster_event else None
