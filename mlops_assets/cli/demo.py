"""``mlops-assets demo``: the system over some days, as its daily and weekly cadence would run it."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
from rich.table import Table

from mlops_assets.cli.console import MISUSE, console, errors, fail, print_json, progress
from mlops_assets.cli.instance import open_instance
from mlops_assets.cli.runs import run_assets
from mlops_assets.settings import Settings
from mlops_assets.sources.generate import SOURCES
from mlops_assets.steps.catalog import ASSETS, TRAINING_ASSETS
from mlops_assets.store.layout import METRICS
from mlops_assets.wiring.pipeline import Pipeline

if TYPE_CHECKING:
    from mlops_assets.store.local import LocalStore

WEEK = 7
_ENV = """# The demo's own settings: made-up data, a model and a registry of its own.
MLOPS_SOURCE={source}
MLOPS_START_DATE={start}
MLOPS_MODEL_NAME=demo
MLOPS_EXPERIMENT=demo
"""


@dataclass(frozen=True)
class Batch:
    """One run of the demo: some assets for consecutive days."""

    assets: tuple[str, ...]
    days: tuple[str, ...]


def plan(days: Sequence[str]) -> Iterator[Batch]:
    """The runs in their order: days arrive (and are scored once there is a model), each week ends with a training.

    Fewer days than a week and one train on the last but one, so that at least one day is scored.
    """
    last = len(days) - 1
    trainings = {place for place in range(WEEK - 1, len(days), WEEK) if last >= WEEK} or {last - 1}
    start, serving = 0, False
    for end in sorted({*trainings, last}):
        scored = ("production_model", "predictions") if serving else ()
        yield Batch(("raw_data", *scored), tuple(days[start : end + 1]))
        if end in trainings:
            yield Batch((*TRAINING_ASSETS, "production_model"), (days[end],))
            serving = True
        start = end + 1


def run_demo(days: int, directory: Path, source: str, *, as_json: bool) -> None:
    """Run what of the plan is not done yet; report all."""
    if source not in SOURCES:
        raise fail(f"{source!r} is an unknown source. Sources: {', '.join(SOURCES)}.", MISUSE)
    here = Path.cwd()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        os.chdir(directory)
    except OSError as error:
        raise fail(
            f"The folder {directory} cannot be made: {error.strerror}. Give another one with --dir.", MISUSE
        ) from None
    settings = _settings(days, source)
    pipeline = Pipeline(settings=settings)
    keys = [(settings.start_date + dt.timedelta(days=one)).isoformat() for one in range(days)]
    pipeline.backend.prepare(ASSETS, keys)
    with closing(pipeline.backend), open_instance(settings) as instance:
        batches = [left for batch in plan(keys) if (left := _left(batch, pipeline, instance)).assets]
        if batches and not as_json:
            console.print(f"{days} days of [bold]{settings.steps.source}[/] data into {pipeline.store.root}")
        with progress(sum(len(batch.assets) * len(batch.days) for batch in batches), hidden=as_json) as show:
            done = itertools.count(1)

            def advance(text: str) -> None:
                show(text, next(done))

            for batch in batches:
                _run(batch, pipeline, instance, advance, as_json=as_json)
    _summary(keys, pipeline, here, as_json=as_json)


def _settings(days: int, source: str) -> Settings:
    """The demo's own settings, kept in its folder: it never meets the user's data, models or tracking server."""
    env = Path(".env")
    if not env.exists():
        yesterday = dt.datetime.now(ZoneInfo("UTC")).date() - dt.timedelta(days=1)
        env.write_text(_ENV.format(source=source, start=yesterday - dt.timedelta(days=days - 1)), encoding="utf-8")
    for name in [name for name in os.environ if name.startswith(("MLOPS_", "MLFLOW_TRACKING"))]:
        if name not in ("MLOPS_BACKEND", "MLOPS_WORKERS", "MLOPS_ROWS_PER_DAY", "MLOPS_ESTIMATOR"):
            del os.environ[name]
    settings = Settings(home=Path(".mlops"), data_dir=Path("data"))
    yesterday = dt.datetime.now(ZoneInfo(settings.automation.timezone)).date() - dt.timedelta(days=1)
    if settings.start_date + dt.timedelta(days=days - 1) > yesterday:
        raise fail(f"The demo in {Path.cwd()} begins on {settings.start_date}: {days} days go beyond yesterday.")
    return settings


def _run(
    batch: Batch, pipeline: Pipeline, instance: dg.DagsterInstance, advance: Callable[[str], None], *, as_json: bool
) -> None:
    def on_result(asset: str, ds: str, error: str | None) -> None:
        advance(f"{ds} {asset}")
        if error:
            errors.print(f"{asset} {ds}: {error}", style="red", markup=False)

    outcome = run_assets(pipeline, instance, batch.assets, batch.days, on_result)
    if not outcome.success:
        raise fail(outcome.error, outcome.exit_code)
    if as_json:
        return
    decision = outcome.results.get(("production_model", batch.days[-1]), {})
    if "judged" in decision:
        verdict = "[green]promoted[/]" if decision["promoted"] else "[yellow]not promoted[/]"
        version = decision["challenger_version"]
        console.print(f"{batch.days[-1]}  model version {version} trained, {verdict}: {decision['reason']}")
    else:
        scored = ", scored" if "predictions" in batch.assets else ""
        console.print(f"{_span(batch.days)}  {'arrived' if 'raw_data' in batch.assets else ''}{scored}".rstrip(", "))


def _left(batch: Batch, pipeline: Pipeline, instance: dg.DagsterInstance) -> Batch:
    """A batch from the first asset on that is not published in the data root for all days and known to Dagster."""
    for place, asset in enumerate(batch.assets):
        known = instance.get_materialized_partitions(pipeline.names.asset_key(asset))
        if not all(ds in known and pipeline.store.manifest(asset, ds) is not None for ds in batch.days):
            return Batch(batch.assets[place:], batch.days)
    return Batch((), batch.days)


def _summary(days: Sequence[str], pipeline: Pipeline, here: Path, *, as_json: bool) -> None:
    rows = [_facts(ds, pipeline) for ds in days]
    serving = pipeline.tracking.registry.production()
    number = None if serving is None else serving.number
    home = pipeline.settings.home.absolute()
    paths = {"data": str(pipeline.store.root), "dagster": str(home / "dagster"), "home": str(home)}
    if as_json:
        print_json({"days": rows, "production_version": number, "paths": paths})
        return
    table = Table("day", "rows", "model trained", "roc_auc", "scored by", "positive")
    for row in rows:
        table.add_row(*(str(value) if value is not None else "" for value in row.values()))
    console.print(table)
    console.print(f"In production: version {number} of model {pipeline.settings.tracking.model_name!r}")
    console.print(f"Data:   {paths['data']}\nState:  {paths['home']} (Dagster's runs, MLflow's models)")
    command, folder = command_to_type(here), os.path.relpath(Path.cwd(), here)
    console.print(
        "\nNext:\n"
        f"  {command} dev --dir {folder}      Dagster on http://127.0.0.1:3000, MLflow on http://127.0.0.1:5000\n"
        f"  {command} status --dir {folder}   days, and the model that serves",
        markup=False,
        soft_wrap=True,
    )


def command_to_type(here: Path) -> str:
    """What to type for this program in the folder where it was started: `make` starts it from a virtual environment."""
    if shutil.which("mlops-assets"):
        return "mlops-assets"
    program = here / sys.argv[0]
    return os.path.relpath(program, here) if program.name == "mlops-assets" else "python -m mlops_assets.cli"


def _facts(ds: str, pipeline: Pipeline) -> dict[str, Any]:
    store: LocalStore = pipeline.store
    raw, model = store.manifest("raw_data", ds), store.manifest("model", ds)
    scores, predictions = store.manifest("metrics", ds), store.manifest("predictions", ds)
    version = pipeline.tracking.registry.find(model.recipe) if model else None
    auc = store.read_json("metrics", ds, METRICS)["metrics"].get("roc_auc") if scores else None
    balance = predictions.metadata["class_balance"] if predictions else {}
    share = f"{list(balance.values())[-1] / sum(balance.values()):.1%}" if balance else None
    return {
        "day": ds,
        "rows": raw.files[0].rows if raw else None,
        "model": f"version {version.number}" if version else None,
        "roc_auc": None if auc is None else round(auc, 4),
        "scored_by": f"version {predictions.metadata['model_version']}" if predictions else None,
        "last_class_share": share,
    }


def _span(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} … {days[-1]}"
