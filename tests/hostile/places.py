"""A project that others write into, what is run in it, and what must hold afterwards."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hostile_files import Special, put, seen
from projects import DS, NEXT, Project

from mlops_assets.automation.config import DAILY_JOBS, AutomationConfig
from mlops_assets.automation.due_days import Days, DueDays
from mlops_assets.checks.raw_data_rules import CheckLimits
from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import CHECKS, blockers, judge
from mlops_assets.runtime.request import Request
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import ASSETS, STEPS
from mlops_assets.store.layout import FILES, manifest_name
from mlops_assets.store.listing import Survey


@dataclass(frozen=True)
class Place:
    """A project, and what lies outside of it."""

    project: Project
    outside: Path


@contextmanager
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        root, outside = Path(folder) / "project", Path(folder) / "outside"
        outside.mkdir()
        (outside / "precious.csv").write_text("id,x,target\n1,2,0\n2,3,1\n")
        before = seen(outside)
        settings = Settings(
            _env_file=None, home=root / ".mlops", data_dir=root / "data", source="files", start_date=DS, workers=0
        )
        yield Place(Project(settings), outside)
        assert seen(outside) == before


def run(project: Project, step: str, ds: str, *, planted: bool = False, **more: object) -> bool:
    """Run a step; whether it succeeded. It must have published all of its day, or nothing.

    Where something was planted, an unfinished publication, say, the folder may become another one all the same.
    """
    asset = STEPS[step].asset
    folder = project.store.folder(asset, ds)
    before = seen(folder)
    (result,) = project._runner.run(Request(step, (ds,), project.params, **more))
    after = seen(folder)
    json.dumps(asdict(result), ensure_ascii=False).encode()
    if result.error is not None:
        assert planted or after == before
        named = (ds, DS, "/v1/", "held-out data", "scores of", "scores.csv of")
        # a planted manifest says itself why its file cannot be used
        assert planted or any(word in result.error for word in named), result.error
        return False
    drafts = [f".{name}.{end}" for name in (*FILES[asset], manifest_name(asset)) for end in ("staged", "next")]
    assert not {*drafts} & {*after}
    for info in project.store.require(asset, ds).files:
        if info.problem is None:
            project.store.read_bytes(asset, ds, info.name)
    return True


def look(project: Project) -> None:
    """All that only looks at the days must cope with them, one day must not keep others from being seen."""
    store = project.store
    both = [DS, NEXT]
    records = Records.of(store)
    for asset in ASSETS:
        store.partitions(asset)
        for ds in both:
            blockers(asset, ds, records, CheckLimits())
            if asset in CHECKS:
                judge(asset, ds, records, CheckLimits())
            if asset != "production_model":
                Staleness(store, project.params).why_stale(asset, ds)
    due_days = DueDays(Survey(store), AutomationConfig(settle_seconds=0), delivered=True, delimiter=",")
    for job in DAILY_JOBS:
        due_days.candidates(job, Days(both, DS, both), {}, 1e12)


TRAINING = ("register", "process", "split", "train")


def deliver(here: Place, ds: str, day: Mapping[str, bytes | Special]) -> dict[str, object]:
    """Put files into a day's folder; what lies there then."""
    folder = here.project.store.folder("raw_data", ds)
    for name, content in day.items():
        put(folder / name, content, here.outside)
    return seen(folder) if day else {}


def delivered(here: Place, ds: str, before: Mapping[str, object]) -> bool:
    """Whether what was delivered is as it was."""
    after = seen(here.project.store.folder("raw_data", ds))
    return {name: after.get(name) for name in before} == before
