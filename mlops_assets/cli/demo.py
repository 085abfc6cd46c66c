"""``mlops-assets demo``: the system over some days, as its daily and weekly cadence would run it."""

from __future__ import annotations

import datetime as dt
import os
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
from mlops_assets.settings import Settings, load_env_file, variable
from mlops_assets.steps.catalog import ASSETS, UNPARTITIONED
from mlops_assets.store.layout import METRICS
from mlops_assets.wiring.assembly import build_backend, build_store

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.store.local import LocalStore

WEEK = 7
TRAINING = ("processed", "split", "model", "metrics")


@dataclass(frozen=True)
class Batch:
    """One run of the demo: some assets for consecutive days."""

    assets: tuple[str, ...]
    days: tuple[str, ...]

    @property
    def results(self) -> int:
        """How many results the run gives."""
        return sum(1 if asset == UNPARTITIONED else len(self.days) for asset in self.assets)


def plan(days: Sequence[str]) -> Iterator[Batch]:
    """The runs in their order: days arrive (and are scored once there is a model), each week ends with a training.

    Fewer days than a week and one train on the last but one, so that at least one day is scored.
    """
    last = len(days) - 1
    trainings = {place for place in range(WEEK - 1, len(days), WEEK) if last >= WEEK} or {last - 1}
    start, serving = 0, False
    for end in sorted({*trainings, last}):
        yield Batch(("raw_data", "predictions") if serving else ("raw_data",), tuple(days[start : end + 1]))
        if end in trainings:
            yield Batch((*TRAINING, UNPARTITIONED), (days[end],))
            serving = True
        start = end + 1


def run_demo(days: int, directory: Path, *, as_json: bool) -> None:
    """Run what of the plan is not done yet; report all."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(directory)
    load_env_file()
    # Never in a tracking server that others use: the demo trains on made-up data and promotes.
    settings = Settings(tracking_uri=f"sqlite:///{Settings().home.absolute() / 'mlflow' / 'mlflow.db'}")
    if settings.source == "files":
        raise fail(f"The demo generates its data: unset {variable('source')} or set it to a generator.", MISUSE)
    newest = dt.datetime.now(ZoneInfo(settings.timezone)).date() - dt.timedelta(days=1)
    if settings.start_date + dt.timedelta(days=days - 1) > newest:
        raise fail(
            f"{days} days from {settings.start_date} go beyond yesterday: choose fewer days or an earlier"
            f" {variable('start_date')}.",
            MISUSE,
        )
    keys = [(settings.start_date + dt.timedelta(days=one)).isoformat() for one in range(days)]
    backend = build_backend(settings)
    backend.prepare(ASSETS, keys)
    with closing(backend), open_instance(settings) as instance:
        store = build_store(settings)
        batches = [rest for batch in plan(keys) for rest in _left_to_do(batch, store, instance)]
        if batches and not as_json:
            console.print(f"{days} days of [bold]{settings.source}[/] data into {store.root}")
        with progress(sum(batch.results for batch in batches), hidden=as_json) as bar:

            def advance(text: str) -> None:
                bar.update(bar.task_ids[0], advance=1, description=text)

            for batch in batches:
                _run(batch, settings, backend, instance, advance, as_json=as_json)
        _summary(keys, settings, store, instance, as_json=as_json)


def _run(
    batch: Batch,
    settings: Settings,
    backend: Backend,
    instance: dg.DagsterInstance,
    advance: Callable[[str], None],
    *,
    as_json: bool,
) -> None:
    def on_result(asset: str, ds: str, error: str | None) -> None:
        advance(f"{ds or batch.days[-1]} {asset}")
        if error:
            errors.print(f"{asset} {ds}: {error}", style="red", markup=False)

    outcome = run_assets(settings, backend, instance, batch.assets, batch.days, on_result)
    if not outcome.success:
        raise fail("\n".join(f"{asset}: {message}" for asset, message in outcome.failures.items()))
    if as_json:
        return
    decision = outcome.results.get((UNPARTITIONED, ""))
    if decision is None:
        scored = ", scored" if "predictions" in batch.assets else ""
        console.print(f"{_span(batch.days)}  {'arrived' if 'raw_data' in batch.assets else ''}{scored}".rstrip(", "))
    else:
        verdict = "[green]promoted[/]" if decision["promoted"] else "[yellow]not promoted[/]"
        version = decision["challenger_version"]
        console.print(f"{batch.days[-1]}  model version {version} trained, {verdict}: {decision['reason']}")


def _left_to_do(batch: Batch, store: LocalStore, instance: dg.DagsterInstance) -> Iterator[Batch]:
    """What of a batch is not done: published in the data root and known to Dagster."""
    missing = {
        asset: [ds for ds in batch.days if not _done(asset, ds, store, instance)]
        for asset in batch.assets
        if asset != UNPARTITIONED
    }
    if UNPARTITIONED in batch.assets:
        assets = tuple(asset for asset in batch.assets if missing.get(asset))
        if assets or not _decided(batch.days[-1], store, instance):
            yield Batch((*assets, UNPARTITIONED), batch.days)
    elif days := sorted(set().union(*missing.values())):
        # What was done of these days is done again with the same result; runs are over ranges of days.
        yield Batch(tuple(asset for asset in batch.assets if missing[asset]), tuple(days))


def _done(asset: str, ds: str, store: LocalStore, instance: dg.DagsterInstance) -> bool:
    return store.manifest(asset, ds) is not None and ds in instance.get_materialized_partitions(dg.AssetKey(asset))


def _decided(ds: str, store: LocalStore, instance: dg.DagsterInstance) -> bool:
    """Whether the gate has decided over the model of this day or a later one."""
    manifest = store.manifest("model", ds)
    event = instance.get_latest_materialization_event(dg.AssetKey(UNPARTITIONED))
    if manifest is None or event is None or event.asset_materialization is None:
        return False
    decided = event.asset_materialization.metadata.get("challenger_version")
    return decided is not None and int(str(decided.value)) >= int(manifest.metadata["model_version"])


def _summary(
    days: Sequence[str], settings: Settings, store: LocalStore, instance: dg.DagsterInstance, *, as_json: bool
) -> None:
    rows = [_facts(ds, store) for ds in days]
    event = instance.get_latest_materialization_event(dg.AssetKey(UNPARTITIONED))
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    serving = metadata["model_version"].value if "model_version" in metadata else None
    paths = {"data": str(store.root), "dagster": str(instance.root_directory), "home": str(settings.home.absolute())}
    if as_json:
        print_json({"days": rows, "production_version": serving, "paths": paths})
        return
    table = Table("day", "rows", "model trained", "roc_auc", "scored by", "positive")
    for row in rows:
        table.add_row(*(str(value) if value is not None else "" for value in row.values()))
    console.print(table)
    console.print(f"In production: version {serving} of model {settings.model_name!r}")
    console.print(f"Data:   {paths['data']}\nState:  {paths['home']} (Dagster's runs, MLflow's models)")
    here = "" if Path.cwd() == Path(os.environ.get("PWD", ".")) else f"cd {Path.cwd()} && "
    console.print(
        "\nNext:\n"
        f"  {here}mlops-assets dev      Dagster on http://127.0.0.1:3000, MLflow on http://127.0.0.1:5000\n"
        f"  {here}mlops-assets status   what is there, what serves\n"
        f"  {here}mlops-assets models history",
        markup=False,
    )


def _facts(ds: str, store: LocalStore) -> dict[str, Any]:
    raw, model = store.manifest("raw_data", ds), store.manifest("model", ds)
    scores, predictions = store.manifest("metrics", ds), store.manifest("predictions", ds)
    auc = store.read_json("metrics", ds, METRICS)["metrics"].get("roc_auc") if scores else None
    balance = predictions.metadata["class_balance"] if predictions else {}
    share = f"{list(balance.values())[-1] / sum(balance.values()):.1%}" if balance else None
    return {
        "day": ds,
        "rows": raw.files[0].rows if raw else None,
        "model": f"version {model.metadata['model_version']}" if model else None,
        "roc_auc": None if auc is None else round(auc, 4),
        "scored_by": f"version {predictions.metadata['model_version']}" if predictions else None,
        "last_class_share": share,
    }


def _span(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} … {days[-1]}"
