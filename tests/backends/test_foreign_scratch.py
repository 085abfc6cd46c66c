"""The scratch directories of programs of the user's own: links that they leave lead nowhere."""

from __future__ import annotations

import json
import os

import pytest

from mlops_assets.runtime.foreign import SCRATCH, ForeignWork
from mlops_assets.runtime.request import Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.steps.parameters import Parameters
from mlops_assets.store.local import LocalStore

DAY = "2026-01-05"
PARAMS = Parameters(rows_per_day=50)


@pytest.fixture
def store(tmp_path):
    """A data root with a day of raw data, and predictions that must not change."""
    store = LocalStore(tmp_path / "data")
    assert [one.error for one in Runner(store).run(Request("generate", (DAY,), PARAMS))] == [None]
    (store.root / "predictions" / DAY / "outputs").mkdir(parents=True)
    (store.root / "predictions" / DAY / "predictions.csv").touch()
    return store


@pytest.fixture
def work(store):
    return ForeignWork(store, Request("process", (DAY,), PARAMS))


def contents(store):
    """What is among the predictions, and whose it is."""
    return {str(path): path.stat().st_uid for path in (store.root / "predictions").rglob("*")}


def test_links_in_the_place_of_scratch_directories_are_replaced_and_lead_nowhere(store, work):
    # given links that an earlier program left in the place of directories
    before = contents(store)
    (scratch,) = work.folders
    scratch.parent.parent.mkdir()
    scratch.parent.symlink_to(store.root / "predictions")
    # when a program works
    owner = (4321, 4321) if os.getuid() == 0 else None
    with work.scratch(owner):
        assert not scratch.parent.is_symlink()
        (scratch / "outputs").rmdir()
        (scratch / "outputs").symlink_to(store.root / "predictions" / DAY)
    with work.scratch(owner):
        assert not (scratch / "outputs").is_symlink()
        (scratch / "outputs" / "train_data.csv").write_text("id,x,target\n1,2,0\n")
        result = work.publish(json.dumps({"partition": DAY}))
    # then its day is published
    assert result.error is None
    # and nothing happened where the links led
    assert contents(store) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hand over")
def test_root_hands_over_what_the_program_writes_to(store, work):
    with work.scratch((4321, 4321)):
        owners = {path.name: path.stat().st_uid for path in (store.root / SCRATCH).rglob("*")}
    assert {name for name, uid in owners.items() if uid == 4321} == {DAY, "outputs"}


def test_whatever_a_program_leaves_is_removed_without_following_it(store, work):
    # given a program that leaves links beside its output, deep and broken ones too
    before = contents(store)
    (scratch,) = work.folders
    with work.scratch():
        (scratch / "outputs" / "train_data.csv").write_text("id,x,target\n1,2,0\n")
        for folder in (scratch, scratch / "a" / "b"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "to a folder").symlink_to(store.root / "predictions")
            (folder / "to a file").symlink_to(store.root / "predictions" / DAY / "predictions.csv")
            (folder / "to nothing").symlink_to("nothing")
            os.mkfifo(folder / "fifo")
        # when its day is published
        assert work.publish(json.dumps({"partition": DAY})).error is None
    # then nothing is left of it, and nothing else is gone
    assert not scratch.parent.exists()
    assert contents(store) == before
