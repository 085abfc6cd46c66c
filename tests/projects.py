"""A project on real files: people deliver CSV, steps run on it."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from mlops_assets.runtime.request import ModelFile, PartitionResult, Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import ASSETS, STEPS
from mlops_assets.steps.declaration import Kind
from mlops_assets.wiring.pipeline import Pipeline

DS, NEXT, LATER = "2024-01-01", "2024-01-02", "2024-01-03"


class Project:
    """A pipeline of one test. Steps run with a runner alone, or assets in Dagster."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.pipeline = settings, Pipeline(settings=settings)
        self.store, self.tracking, self.params = (
            self.pipeline.store,
            self.pipeline.tracking,
            self.pipeline.backend.params,
        )
        self._runner = Runner(self.store)

    def deliver(self, ds: str, data: str | bytes | None = None, target: str | bytes | None = None) -> None:
        """Write the files of a day as a delivery does."""
        folder = self.store.folder("raw_data", ds)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("data.csv", data), ("target.csv", target)):
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def request(self, step: str, *days: str) -> Request:
        """A request; `evaluate` works with the day's model, `predict` with that of DS."""
        models = {}
        if any(file.kind is Kind.MODEL for file in STEPS[step].inputs):
            for ds in days:
                models[ds] = self.model_file(ds if step == "evaluate" else DS)
        return Request(step, days, self.params, models=models)

    def model_file(self, ds: str) -> ModelFile:
        """The model of a day, as if the registry vouched for it."""
        manifest = self.store.require("model", ds)
        return ModelFile(self.store.relative("model", ds, "model.skops"), manifest.files[0].sha256, manifest.recipe)

    def run(self, step: str, *days: str) -> list[PartitionResult]:
        return list(self._runner.run(self.request(step, *days)))

    def make(self, *steps: str, ds: str = DS) -> dict[str, Any]:
        """Run steps one after the other; the last one's metadata."""
        metadata: dict[str, Any] = {}
        for step in steps:
            (result,) = self.run(step, ds)
            assert result.error is None, result.error
            metadata = dict(result.metadata)
        return metadata

    def refused(self, step: str, ds: str = DS) -> str:
        """The message of a step that must fail and must not touch any file."""
        before = self.files()
        (result,) = self.run(step, ds)
        assert result.error is not None
        assert not result.metadata
        assert self.files() == before
        return result.error

    def materialize(self, *assets: str, ds: str = DS, to: str | None = None, **tags: str) -> Outcome:
        """Materialize assets (all by default) of a day, or of a range of days, in one run of Dagster."""
        span = {"dagster/asset_partition_range_start": ds, "dagster/asset_partition_range_end": to} if to else {}
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                [getattr(self.pipeline.assets, asset) for asset in assets or ASSETS],
                instance=instance,
                resources=self.pipeline.resources,
                partition_key=None if to else ds,
                tags={**span, **tags},
                raise_on_error=False,
            )
            logged = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        found = [one.asset_materialization for one in logged if one.asset_materialization]
        return Outcome(result, found, self.pipeline.names)

    def table(self, asset: str, name: str, ds: str = DS) -> Any:
        return self.store.read_table(asset, ds, name)

    def files(self) -> dict[Path, bytes]:
        """Every file under the data root."""
        return {path: path.read_bytes() for path in sorted(self.store.root.rglob("*")) if path.is_file()}


class Outcome:
    """How a run of Dagster ended."""

    def __init__(self, result: Any, materializations: Sequence[dg.AssetMaterialization], names: Any) -> None:
        self.result, self._materializations, self._names = result, materializations, names
        self.success: bool = result.success
        self.failures = {
            str(event.step_key): str(event.step_failure_data.user_failure_data.description)
            for event in result.all_node_events
            if event.is_step_failure and event.step_failure_data.user_failure_data
        }

    def metadata(self, asset: str) -> dict[str, dict[str, Any]]:
        """Day -> metadata of each materialization of an asset."""
        key = self._names.asset_key(asset)
        return {
            str(one.partition): {name: value.value for name, value in one.metadata.items()}
            for one in self._materializations
            if one.asset_key == key
        }

    def made(self, asset: str) -> list[str]:
        """The days of an asset that this run really made."""
        return [ds for ds, metadata in self.metadata(asset).items() if "up_to_date" not in metadata]

    def checks(self) -> dict[str, bool]:
        """Check -> whether it passed."""
        return {one.check_name: one.passed for one in self.result.get_asset_check_evaluations()}


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


MIXED = ("id", "amount", "count", "colour", "note", "day", "flag", "constant", "nothing")


def mixed(rows: int = 400, seed: int = 0, first_id: int = 0, **changes: object) -> tuple[str, str]:
    """Columns of every kind and a target that can be learned from them.

    Args:
        rows: How many.
        seed: Of the values.
        first_id: Id of the first row.
        changes: Column -> function of the row number, in place of (or beside) the usual values.

    Returns:
        ``data.csv`` and ``target.csv``.
    """
    rng = random.Random(seed)
    data, target = [], []
    for row in range(first_id, first_id + rows):
        amount, colour = round(rng.gauss(0, 1), 6), rng.choice(["red", "blue", 'dark, "green"', "grün"])
        values = {
            "id": row,
            "amount": "" if rng.random() < 0.05 else amount,
            "count": rng.randrange(100),
            "colour": colour,
            "note": f"note {rng.randrange(60)}\nsecond line",
            "day": f"2023-{rng.randrange(1, 13):02}-{rng.randrange(1, 28):02}",
            "flag": rng.choice(["true", "false"]),
            "constant": 7,
            "nothing": "",
        }
        values |= {name: change(row) for name, change in changes.items()}  # type: ignore[operator]
        data.append(values)
        score = 2 * amount + (colour == "red") + rng.gauss(0, 0.5)
        target.append((row, int(1 / (1 + math.exp(-score)) > 0.5)))
    names = [*MIXED, *(name for name in changes if name not in MIXED)]
    return as_csv(names, [[one[name] for name in names] for one in data]), as_csv(("id", "target"), target)


def without_column(text: str, name: str) -> str:
    header, *rows = csv.reader(io.StringIO(text))
    place = header.index(name)
    return as_csv([*header[:place], *header[place + 1 :]], [[*row[:place], *row[place + 1 :]] for row in rows])


def with_labels(target: str, labels: Sequence[object]) -> str:
    """The target with other labels for its classes 0, 1, …."""
    header, *rows = csv.reader(io.StringIO(target))
    return as_csv(header, [(row, labels[int(label)]) for row, label in rows])


def make(settings: Settings, asset: str, *days: str) -> None:
    """Materialize an asset of some days, each in a run of its own."""
    for ds in days:
        outcome = Project(settings).materialize(asset, ds=ds)
        assert outcome.success, outcome.failures
