"""``mlops-assets status``."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.table import Table
from rich.text import Text

from mlops_assets.cli.console import FAILED as EXIT_FAILED
from mlops_assets.cli.console import console, fail, print_json
from mlops_assets.cli.day_states import DONE, FAILED, NEVER, STALE, Day, DayStates, State, every_day, reasons
from mlops_assets.cli.spans import span
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.wiring.assembly import build_backend, build_store, build_tracking

if TYPE_CHECKING:
    from mlops_assets.tracking.entities import Version

_MARKS = {DONE: ("✓", "green"), STALE: ("stale", "yellow"), FAILED: ("failed", "bold red"), NEVER: ("·", "dim")}
_NOTHING: Day = dict.fromkeys(ASSETS, State(NEVER))


def show_status(count: int, *, as_json: bool) -> None:
    """Print the newest days by assets, why some are stale or failed, and the model that serves."""
    settings = Settings()
    last = dt.datetime.now(ZoneInfo(settings.automation.timezone)).date() - dt.timedelta(days=1)
    with nullcontext() if as_json else console.status("asking Dagster and MLflow"):
        failures = _failures(settings)
        tracking = build_tracking(settings)
        registry = tracking.registry
        serving: Version | None = None
        recipes: Mapping[str, Version] | None = None
        error = ""
        try:
            pinned = settings.tracking.model_version
            if pinned is None and not tracking.has_store:  # to ask would make one
                recipes = {}
            else:
                serving = registry.production() if pinned is None else registry.version(pinned)
                recipes = registry.recipes()
        except MlopsAssetsError as away:
            error = str(away)

        def is_registered(recipe: str, sha256: str) -> bool:
            return recipes is None or (recipe in recipes and recipes[recipe].sha256 == sha256)

        store = build_store(settings)
        with closing(build_backend(settings)) as backend:
            staleness = Staleness(
                store, backend.params, image=backend.recipe_image, is_registered=is_registered, by_age=True
            )
            states = DayStates(store, staleness, failures, settings.checks)
            known = states.known(settings.start_date, last)
            shown = {ds: states.of(ds) for ds in known[-count:]}
        seen = [ds for ds, day in shown.items() if day["predictions"].in_sample]
        helped: Collection[str] = ()
        if seen and not (error or as_json):
            with suppress(MlopsAssetsError):
                helped = registry.as_of(seen)
    days = {ds: shown.get(ds, _NOTHING) for ds in every_day(min(shown), last)} if shown else {}
    if as_json:
        # A single early day is not followed by thousands of which there is nothing.
        newest = {ds: days[ds] for ds in sorted({*shown, *[*days][-count:]})}
        _print_json(settings, newest, len(known) - len(shown), serving, error)
    else:
        _print(settings, days, len(known) - len(shown), serving, error, helped)
    if error:
        raise fail(error, EXIT_FAILED)


def _failures(settings: Settings) -> Mapping[str, Mapping[str, str]]:
    """What Dagster knows of days whose last attempt failed, by asset."""
    if not ("DAGSTER_HOME" in os.environ or (settings.home / "dagster").is_dir()):
        return {}
    from mlops_assets.assets.failed_partitions import last_failures
    from mlops_assets.cli.instance import open_instance
    from mlops_assets.wiring.assembly import build_names

    names = build_names(settings)
    with open_instance(settings) as instance:
        return {asset: last_failures(instance, names.asset_key(asset)) for asset in ASSETS}


def _print_json(settings: Settings, days: Mapping[str, Day], earlier: int, serving: Version | None, error: str) -> None:
    def plain(state: State) -> dict[str, Any]:
        return {name: value for name, value in asdict(state).items() if value or name == "state"}

    facts = None
    if serving is not None:
        facts = {
            "version": serving.number,
            "ds": serving.ds,
            "sha256": serving.sha256,
            "pinned": settings.tracking.model_version is not None,
        }
    content = {
        "data_dir": str(build_store(settings).root),
        "days": {ds: {asset: plain(state) for asset, state in day.items()} for ds, day in days.items()},
        "earlier_days": earlier,
        "production": facts,
    }
    print_json({**content, **({"error": error} if error else {})})


def _print(
    settings: Settings,
    days: Mapping[str, Day],
    earlier: int,
    serving: Version | None,
    error: str,
    helped: Collection[str],
) -> None:
    root = build_store(settings).root
    if days:
        console.print(str(root), markup=False, soft_wrap=True)
        console.print(_table(days))
        if earlier:
            console.print(f"… and {earlier:,} earlier days; --days shows more")
        _print_reasons(days, helped)
    else:
        console.print(f"Nothing is published under {root} yet. Try: mlops-assets demo", markup=False, soft_wrap=True)
    if not error:
        console.print(_about(settings, serving), markup=False, soft_wrap=True)


def _table(days: Mapping[str, Day]) -> Table:
    """A row a day; days in a row of which there is nothing are one. It fits into 80 columns."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("day", no_wrap=True)
    for asset in ASSETS:
        table.add_column(asset, justify="center", no_wrap=True)
    for is_empty, group in groupby(days.items(), lambda item: all(one == State(NEVER) for one in item[1].values())):
        rows = list(group)
        if is_empty and len(rows) > 2:  # noqa: PLR2004  # a row for the gap needs two lines
            _add(table, [f"{rows[0][0]}…", rows[-1][0]], _NOTHING.values())
            continue
        for ds, day in rows:
            _add(table, [ds], day.values())
    return table


def _add(table: Table, names: Sequence[str], states: Iterable[State]) -> None:
    table.add_row("\n".join(names), *(Text(*_MARKS[one.state]) for one in states))


def _print_reasons(days: Mapping[str, Day], helped: Collection[str]) -> None:
    """Why days are stale or failed; ``helped``: those that an earlier version can score."""
    for (state, reason, assets), concerned in reasons(days).items():
        mark = Text.assemble((state if state != NEVER else "new", _MARKS[state][1]))
        console.print(mark, f"{', '.join(assets)} of {span(concerned)}: {reason}", soft_wrap=True, markup=False)
    seen = [ds for ds, day in days.items() if day["predictions"].in_sample]
    if seen:
        hint = f"; an earlier one can score {span(helped)}: materialize predictions … --as-of" if helped else ""
        console.print(
            f"in sample: predictions of {span(seen)} are by a version that was trained on the day{hint}",
            markup=False,
            soft_wrap=True,
        )
    if any(one.state == STALE for day in days.values() for one in day.values()):
        console.print(
            "Make stale days again: mlops-assets materialize ASSET … --from DS --to DS (--dry-run: only say what)",
            markup=False,
            soft_wrap=True,
        )


def _about(settings: Settings, serving: Version | None) -> str:
    model = f"model {settings.tracking.model_name!r}"
    if serving is None:
        return f"{model} in production: none"
    version = f"version {serving.number}, trained for {serving.ds or 'an unknown day'}"
    if settings.tracking.model_version is not None:
        return f"{model}: {version}, serves because MLOPS_MODEL_VERSION pins it, whatever is in production"
    return f"{model} in production: {version}"
