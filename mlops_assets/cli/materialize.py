"""``mlops-assets materialize``."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from mlops_assets.checks.column_settings import unknown_columns
from mlops_assets.checks.reference_day import Records
from mlops_assets.cli.console import MISUSE, console, errors, fail, print_json, progress
from mlops_assets.cli.spans import span
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.wiring.pipeline import Pipeline

if TYPE_CHECKING:
    from mlops_assets.cli.runs import RunOutcome
    from mlops_assets.tracking.registry import Registry

MAKING, _FAILED = "making", "failed"


def run_materialize(
    assets: Sequence[str],
    partition: str | None,
    first: str | None,
    last: str | None,
    *,
    force: bool,
    as_of: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Check the arguments, run, report."""
    settings = Settings()
    if unknown := [name for name in assets if name not in ASSETS]:
        raise fail(f"{', '.join(unknown)}: unknown asset. Assets: {', '.join(ASSETS)}.", MISUSE)
    chosen = [name for name in ASSETS if name in assets] or (["predictions"] if as_of else list(ASSETS))
    if as_of and chosen != ["predictions"]:
        raise fail("--as-of is for predictions alone: leave out the other assets.", MISUSE)
    days = _days(settings, partition, first, last)
    pipeline = Pipeline(settings=settings)
    backend = pipeline.backend
    if dry_run:
        from mlops_assets.cli.dry_run import show_plan

        with closing(backend):
            show_plan(pipeline, chosen, days, force=force, as_of=as_of, as_json=as_json)
        return
    run_id = str(uuid.uuid4())
    with closing(backend):
        backend.prepare(chosen, days, run_id)  # before Dagster is imported
        outcome = _run(pipeline, chosen, days, run_id, force=force, as_of=as_of, as_json=as_json)
    if not as_json and not {"raw_data", "processed"}.isdisjoint(chosen):
        for line in unknown_columns(settings.steps, Records.of(pipeline.store), days):
            errors.print(f"warning: {line}", style="yellow", markup=False, soft_wrap=True)
    _report(outcome, chosen, days, pipeline.tracking.registry, as_json=as_json)


def _run(
    pipeline: Pipeline,
    chosen: Sequence[str],
    days: Sequence[str],
    run_id: str,
    *,
    force: bool,
    as_of: bool,
    as_json: bool,
) -> RunOutcome:
    """Run with progress."""
    from mlops_assets.cli.instance import open_instance
    from mlops_assets.cli.runs import PLANNING, RECORDING, run_assets

    total = len(chosen) * len(days)
    with open_instance(pipeline.settings) as instance, progress(3 * total, hidden=as_json) as advance:
        counts: Counter[str] = Counter()

        def on_event(doing: str, asset: str, ds: str) -> None:
            counts[doing] += 1
            # A day that is up to date is recorded without having been made.
            made = max(counts[MAKING], counts[RECORDING])
            so_far = f" ({counts[_FAILED]} failed)" if counts[_FAILED] else ""
            advance(f"{doing} {asset} {ds}{so_far}", counts[PLANNING] + made + counts[RECORDING])

        def on_result(asset: str, ds: str, error: str | None) -> None:
            counts[_FAILED] += bool(error)
            on_event(MAKING, asset, ds)

        return run_assets(
            pipeline, instance, chosen, days, on_result, run_id, force=force or as_of, as_of=as_of, on_event=on_event
        )


def _days(settings: Settings, partition: str | None, first: str | None, last: str | None) -> list[str]:
    if partition and (first or last):
        raise fail("Give --partition or --from and --to, not both.", MISUSE)
    if bool(first) != bool(last):
        raise fail("Give both --from and --to.", MISUSE)
    if not (partition or first):
        raise fail("Days are missing: give --partition YYYY-MM-DD, or --from YYYY-MM-DD --to YYYY-MM-DD.", MISUSE)
    start, end = (_day(text) for text in (partition or first, partition or last))
    newest = dt.datetime.now(ZoneInfo(settings.automation.timezone)).date() - dt.timedelta(days=1)
    if end < start:
        raise fail(f"The range is empty: {start} comes after {end}.", MISUSE)
    if start < settings.start_date or end > newest:
        raise fail(
            f"There are partitions from {settings.start_date} (MLOPS_START_DATE) to {newest} (yesterday in"
            f" {settings.automation.timezone}), not {start if start < settings.start_date else end}.",
            MISUSE,
        )
    return [(start + dt.timedelta(days=one)).isoformat() for one in range((end - start).days + 1)]


def _day(text: str | None) -> dt.date:
    try:
        return dt.date.fromisoformat(text or "")
    except ValueError:
        raise fail(f"{text!r} is not a date. Expected YYYY-MM-DD.", MISUSE) from None


def _report(
    outcome: RunOutcome, assets: Sequence[str], days: Sequence[str], registry: Registry, *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "run_id": outcome.run_id,
                "success": outcome.success,
                "results": [
                    {"asset": asset, "partition": ds or None, "metadata": metadata}
                    for (asset, ds), metadata in outcome.results.items()
                ],
                "up_to_date": outcome.up_to_date,
                "skipped": [
                    {"asset": asset, "partition": ds, "reason": reason}
                    for (asset, ds), reason in outcome.skipped.items()
                ],
                "failures": outcome.failures,
            }
        )
    elif outcome.success:
        span = f" for {days[0]}" + (f" … {days[-1]}" if len(days) > 1 else "") if days else ""
        total = len(outcome.results) + outcome.up_to_date + len(outcome.skipped)
        known = f"; {outcome.up_to_date:,} of {total:,} were up to date" if outcome.up_to_date else ""
        if outcome.skipped:
            known += f"; {len(outcome.results):,} of {total:,} days were made"
        console.print(f"[green]done[/] {', '.join(assets)}{span}{known} (Dagster run {outcome.run_id})")
    if not as_json:
        for line in (*_about_models(outcome, registry), *_about_skipped(outcome)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not outcome.success:
        raise fail(f"{outcome.error or 'the run failed'}\n(Dagster run {outcome.run_id})", outcome.exit_code)


def _about_models(outcome: RunOutcome, registry: Registry) -> Iterator[str]:
    """What the gate decided, and which versions scored how many days."""
    for (asset, _), facts in outcome.results.items():
        if asset == "production_model" and "judged" in facts:
            what = "promoted" if facts["promoted"] else "not promoted"
            yield f"Version {facts['challenger_version']} was {what}: {facts['reason']}."
    scored = {ds: facts for (asset, ds), facts in outcome.results.items() if asset == "predictions"}
    for version, count in sorted(Counter(facts["model_version"] for facts in scored.values()).items()):
        yield f"Version {version} scored {count} {'day' if count == 1 else 'days'}."
    if seen := [ds for ds, facts in scored.items() if facts["in_sample"]]:
        yield f"Days in the training window of the version that scored them: {len(seen)} (in_sample)."
        with suppress(MlopsAssetsError):  # MLflow is away: it cannot be known
            if helped := registry.as_of(seen):
                yield f"An earlier version can score {span([*helped])}: materialize predictions … --as-of."


def _about_skipped(outcome: RunOutcome) -> Iterator[str]:
    days: dict[tuple[str, str], list[str]] = {}
    for (asset, ds), reason in outcome.skipped.items():
        days.setdefault((asset, reason), []).append(ds)
    for (asset, reason), skipped in days.items():
        yield f"Skipped {asset} of {span(skipped)}: {reason}"
