"""``mlops-assets materialize --dry-run``: what would be made, and why; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from mlops_assets.assets.recording import Recorder
from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import blockers, stopped_by
from mlops_assets.cli.console import console, print_json
from mlops_assets.cli.spans import span
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.steps.catalog import TRAINING_ASSETS, days_come_from, step_of_asset
from mlops_assets.store.layout import DATA

if TYPE_CHECKING:
    from mlops_assets.wiring.pipeline import Pipeline

MAKE, KEEP, FAIL, SKIP = "make", "up to date", "cannot be made", "skipped"


@dataclass(frozen=True)
class Work:
    """What would happen to one day of one asset.

    Attributes:
        asset: Its name.
        partition: The day.
        action: ``make``, ``up to date``, ``cannot be made`` or ``skipped``.
        reason: Why.
    """

    asset: str
    partition: str
    action: str
    reason: str = ""


class Plan:
    """What a run over some assets and days would do; nothing is written."""

    def __init__(
        self, pipeline: Pipeline, assets: Sequence[str], days: Sequence[str], *, force: bool, as_of: bool
    ) -> None:
        """Nothing is read until first use."""
        self._store, self._assets, self._days = pipeline.store, assets, days
        self._delivered = pipeline.settings.steps.source == "files"
        self._asked = "--force" if force else "a single day is always made" if len(days) == 1 else ""
        self._as_of = pipeline.tracking.registry.as_of(days) if as_of else None
        self._judges = len(assets) == 1 or not {*assets}.isdisjoint(TRAINING_ASSETS)
        recorder = Recorder(pipeline.tracking, pipeline.backend, pipeline.parts.production, "")
        self._staleness = Staleness(
            pipeline.store,
            pipeline.backend.params,
            image=pipeline.backend.recipe_image,
            is_registered=recorder.is_registered,
        )
        self._blockers = partial(blockers, records=Records.of(pipeline.store), limits=pipeline.settings.checks)

    def work(self) -> Iterator[Work]:
        """Each day of each asset, upstream first."""
        failing: set[tuple[str, str]] = set()
        for asset in self._assets:
            for ds in self._days:
                if self._as_of is not None and ds not in self._as_of:
                    yield Work(asset, ds, SKIP, "no version was promoted that was trained on earlier days only")
                    continue
                reason = self._reason(asset, ds)
                before = next((one for one in days_come_from(asset) if (one, ds) in failing), None)
                problem = f"{before} cannot be made" if before else self._problem(asset, ds)
                if reason and problem:
                    failing.add((asset, ds))
                    yield Work(asset, ds, FAIL, problem)
                else:
                    yield Work(asset, ds, MAKE if reason else KEEP, reason)

    def _reason(self, asset: str, ds: str) -> str:
        """Why a day would be made; empty: it is up to date."""
        if self._as_of is not None:
            return f"by version {self._as_of[ds].number} (--as-of)"
        if asset != "production_model":
            return self._asked or self._staleness.why_stale(asset, ds) or ""
        if self._judges and ds == self._days[-1]:
            return "versions that are not judged yet are judged, if there are any"
        is_predicted = self._staleness.why_stale("predictions", ds) is None
        is_asked = self._asked and "predictions" in self._assets
        return "" if is_predicted and not is_asked else "the version in production is looked up"

    def _problem(self, asset: str, ds: str) -> str:
        """Why a day could not be made, as far as that is known before."""
        if asset == "raw_data":
            is_missing = self._delivered and not (self._store.folder(asset, ds) / DATA).exists()
            return f"{self._store.relative(asset, ds, DATA)} was not delivered" if is_missing else ""
        others = [one for one in days_come_from(asset) if one not in self._assets]
        if missing := [one for one in others if self._store.manifest(one, ds) is None]:
            return f"{missing[0]} of the day is missing"
        if unusable := next(self._unusable(asset, ds), ""):
            return unusable
        found = self._blockers(asset, ds)
        stopping = [one for one in found if len(self._days) > 1 or one.asset in self._assets]
        return stopped_by(stopping)

    def _unusable(self, asset: str, ds: str) -> Iterator[str]:
        """What is wrong with the files of raw data that the asset is made of."""
        is_new = "raw_data" in self._assets and self._staleness.why_stale("raw_data", ds)
        raw = None if is_new else self._store.manifest("raw_data", ds)
        known = {info.name: info.problem for info in raw.files} if raw else {}
        for file in step_of_asset(asset, "").inputs:
            if file.asset != "raw_data":
                continue
            if raw:
                is_there = file.name in known
            else:  # as it is when it is registered; a broken one is found then
                is_there = not self._delivered or (self._store.folder(file.asset, ds) / file.name).exists()
            if problem := known.get(file.name) if is_there else f"{file.name} is missing":
                yield problem


def show_plan(
    pipeline: Pipeline, assets: Sequence[str], days: Sequence[str], *, force: bool, as_of: bool, as_json: bool
) -> None:
    """Print what a run would do."""
    plan = list(Plan(pipeline, assets, days, force=force, as_of=as_of).work())
    if as_json:
        print_json({"dry_run": True, "plan": [asdict(one) for one in plan]})
        return
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for one in plan:
        grouped.setdefault((one.asset, one.action, one.reason), []).append(one.partition)
    for (asset, action, reason), concerned in grouped.items():
        text = f"{asset:16} {action}: {span(concerned)}" + (f": {reason}" if reason else "")
        style = {MAKE: "green", KEEP: "dim", FAIL: "red", SKIP: "yellow"}[action]
        console.print(text, style=style, markup=False, soft_wrap=True)
    console.print("Nothing was done (--dry-run).")
