"""From Dagster's records to alerts: failures, retries, failed checks, judgements, failed ticks. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_assets.alerts.message import CHECK, FAILURE, PROMOTION, REJECTION, RETRY, TICK, Alert, alert, first_lines
from mlops_assets.assets.failures import MLFLOW_RUN_URL_TAG, message_of_step, partitions_of, root_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dagster as dg

    from mlops_assets.alerts.failed_ticks import FailedTick

_IMPLICIT_JOB = "__"
"""Jobs that Dagster makes for a selection of assets begin like this."""

_WILL_RETRY_TAG = "dagster/will_retry"
_NAMED = 5
_VARIES = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
"""Times, ports, addresses: they differ each time that the same error occurs."""


def alerts_of_run(
    run: dg.DagsterRun, events: Sequence[dg.EventLogEntry], dagster_url: str, since: float = 0.0
) -> list[Alert]:
    """The alerts of a run.

    Args:
        run: The run.
        events: All its failures, retries and check evaluations, oldest first.
        dagster_url: Base of links to Dagster's UI.
        since: Earlier events give no alert; seconds since 1970.
    """
    links = _links(run.run_id, run.tags, dagster_url)
    found = [*_retries(run, events, links), *_failure(run, events, links)]
    if run.is_finished:  # a check may be evaluated for many days: one alert for all of them
        found += _checks(run, events, links)
    return [one for time, one in found if time >= since]


def is_judgement(event: dg.EventLogEntry) -> bool:
    """Whether a materialization of the production model records a judgement, or a promotion by hand."""
    facts = _metadata(event)
    return "judged" in facts or (not event.run_id and bool(facts.get("promoted")))


def alert_of_judgement(event: dg.EventLogEntry, dagster_url: str) -> Alert:
    """The alert of a judgement by the gate, or of a promotion by hand.

    Args:
        event: A materialization for which `is_judgement` holds.
        dagster_url: Base of links to Dagster's UI.
    """
    facts = _metadata(event)
    verdicts = _verdicts(facts)
    old = facts.get("from_version", facts.get("champion_version"))
    serving = f"version {old}" if old else "nothing"
    if facts.get("promoted"):
        kind, new = PROMOTION, facts.get("to_version", facts.get("challenger_version"))
        how = " by hand" * ("by" in facts)
        title = f"Rolled back to version {new}" if facts.get("rollback") else f"Version {new} went to production{how}"
    else:
        kind, title = REJECTION, f"{_rejected(facts, verdicts)}, {serving} stays in production"
    lines = [f"Before: {serving}"] if kind == PROMOTION else []
    lines += [first_lines(str(facts.get("reason", ""))), *_scores(facts)]
    if len(verdicts) > 1:
        lines += [
            f"Version {one['version']}: {one['outcome']}. {first_lines(one['reason'])}" for one in verdicts[:_NAMED]
        ]
        lines += [f"… and {len(verdicts) - _NAMED} more"] if len(verdicts) > _NAMED else []
    lines += [f"By: {facts['by']}"] if "by" in facts else []
    path = "/".join(event.asset_materialization.asset_key.path)  # type: ignore[union-attr]
    links = [f"Run: {dagster_url}/runs/{event.run_id}" if event.run_id else f"{dagster_url}/assets/{path}"]
    named = {"Model version": "model_version_url", "Its training in MLflow": "mlflow_run_url"}
    links += [f"{name}: {facts[url]}" for name, url in named.items() if url in facts]
    return alert(_judgement_key(event, facts, verdicts, path), kind, title, [*filter(None, lines)], links)


def alert_of_tick(tick: FailedTick, dagster_url: str) -> Alert:
    """The alert of a schedule's or sensor's failed tick."""
    return trouble(f"{tick.kind} {tick.name}", root_message(tick.error), tick.time, dagster_url)


def trouble(who: str, message: str, time: float, dagster_url: str) -> Alert:
    """The alert that something which watches or starts runs fails: one for each error and day, not one every tick."""
    day = dt.datetime.fromtimestamp(time, dt.timezone.utc).date()
    digest = hashlib.sha256(_VARIES.sub("#", message).encode()).hexdigest()[:16]
    facts = [first_lines(message), "The same error is sent once a day."]
    return alert(f"{TICK}/{who}/{digest}/{day}", TICK, f"{who} failed", facts, [f"{dagster_url}/automation"])


def _failure(run: dg.DagsterRun, events: Sequence[dg.EventLogEntry], links: list[str]) -> Iterator[tuple[float, Alert]]:
    ends = [one for one in events if _type(one) == "PIPELINE_FAILURE"]
    if not ends:
        return
    steps = [one.dagster_event for one in events if _type(one) == "STEP_FAILURE" and one.dagster_event]
    lines = [f"Step {step.step_key}: {first_lines(message_of_step(step))}" for step in steps[:_NAMED]]
    lines += [f"… and {len(steps) - _NAMED} more steps"] if len(steps) > _NAMED else []
    retried = run.tags.get(_WILL_RETRY_TAG)
    lines += ["Dagster will retry the run." if retried == "true" else "The run is not retried."] if retried else []
    text = [*_about(run), *(lines if steps else [_reason(ends[0]), *lines])]
    yield ends[0].timestamp, alert(f"{FAILURE}/{run.run_id}", FAILURE, f"{_name(run)} failed", text, links)


def _reason(end: dg.EventLogEntry) -> str:
    """Why a run failed in which no step did: a resource could not be created, its process was killed."""
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
        pause = f"Retrying in {data.seconds_to_wait:.0f} s." if data.seconds_to_wait else "Retrying."
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
        days = [one.partition or partitions_of(run.tags) for one in found]
        lines = [
            ": ".join(filter(None, (day, first_lines(one.description or ""))))
            for day, one in zip(days[:_NAMED], found, strict=False)
        ]
        lines += [f"… and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
        severity = "ERROR" if any(one.severity.value == "ERROR" for one in found) else "WARN"
        text = [f"Asset: {asset}", f"Check: {check}, severity {severity}", *filter(None, lines), *_about(run)[:1]]
        title = f"Check {check} of {asset} failed {days[0]}"
        yield times[asset, check], alert(f"{CHECK}/{run.run_id}/{asset}/{check}", CHECK, title, text, links)


def _judgement_key(
    event: dg.EventLogEntry, facts: Mapping[str, Any], verdicts: Sequence[Mapping[str, str]], path: str
) -> str:
    if not event.run_id:
        return f"by hand/{path}/{event.timestamp}"
    if verdicts and not facts.get("promoted") and all(one["outcome"] != "rejected" for one in verdicts):
        # Undecided versions are judged again, possibly every day: one alert for the same versions and champion.
        versions = ",".join(one["version"] for one in verdicts)
        return f"undecided/{path}/{versions}/{facts.get('champion_version')}"
    return f"judgement/{event.run_id}"  # also when the step was retried and recorded it twice


def _verdicts(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    found = facts.get("verdicts") or []
    found = json.loads(found) if isinstance(found, str) else found
    return [{name: str(one.get(name, "")) for name in ("version", "outcome", "reason")} for one in found]


def _rejected(facts: Mapping[str, Any], verdicts: Sequence[Mapping[str, str]]) -> str:
    """The beginning of a title: which versions did not pass."""
    rejected = [one["version"] for one in verdicts if one["outcome"] == "rejected"]
    versions = rejected or [one["version"] for one in verdicts] or [str(facts.get("challenger_version"))]
    fate = (
        "could not be judged"
        if verdicts and not rejected
        else "was rejected"
        if len(versions) == 1
        else "were rejected"
    )
    *most, last = versions
    return f"Versions {', '.join(most)} and {last} {fate}" if most else f"Version {last} {fate}"


def _scores(facts: Mapping[str, Any]) -> Iterator[str]:
    metric = facts.get("gate_metric", "score")
    for name in ("challenger", "champion"):
        if f"{name}_score" in facts:
            yield f"{metric} of the {name}, version {facts.get(f'{name}_version')}: {facts[f'{name}_score']:.4f}"


def _metadata(event: dg.EventLogEntry) -> dict[str, Any]:
    materialization = event.asset_materialization
    return {name: one.value for name, one in materialization.metadata.items()} if materialization else {}


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
