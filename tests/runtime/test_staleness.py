"""What is stale, and the reason that is given; what the runner does when something fails on the way."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from projects import DS, NEXT, Project, mixed

from mlops_assets.runtime.recipes import ingredients
from mlops_assets.runtime.request import Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.steps.catalog import STEPS
from mlops_assets.store.disk import TemporaryStorageError

MADE = ("raw_data", "processed", "split", "model", "metrics", "predictions")


@pytest.fixture
def made(project) -> Project:
    """A day that went all the way."""
    made = project(estimator="logistic_regression")
    made.deliver(DS, *mixed(80))
    made.make("register", "process", "split", "train", "evaluate", "predict")
    return made


def why(made: Project, *assets: str, ds: str = DS, **options) -> list[str | None]:
    params = replace(made.params, **options.pop("params", {}))
    staleness = Staleness(made.store, params, **options)
    return [staleness.why_stale(asset, ds) for asset in assets]


def test_what_was_just_made_is_up_to_date(made):
    assert why(made, *MADE) == [None] * len(MADE)
    assert why(made, "raw_data", "processed", ds=NEXT) == ["it is missing"] * 2


def test_a_changed_setting_makes_stale_what_declares_it_and_what_comes_after(made):
    found = why(made, *MADE, params={"estimator": "random_forest"})
    assert found == [
        *[None] * 3,
        "it was made with a different value of estimator",
        "model is not up to date: it was made with a different value of estimator",
        None,
    ]
    (reason,) = why(made, "raw_data", params={"missing_values": ("?",)})
    assert reason == "it was made with a different value of missing_values"


def test_another_image_or_version_of_a_step_makes_its_partitions_stale(made, monkeypatch):
    assert why(made, "split", image=lambda step: "sha256:1") == ["it was made by a different image of step split"]
    monkeypatch.setitem(STEPS, "split", replace(STEPS["split"], version="2"))
    request = Request("split", (DS,), made.params)
    now = ingredients(made.store, STEPS["split"], DS, request)
    assert now.recipe != made.store.require("split", DS).recipe


def test_a_model_that_nobody_registered_is_stale(made):
    assert why(made, "split", "model", is_registered=lambda recipe, sha256: False) == [
        None,
        "its model is not registered",
    ]


def test_the_recipe_of_what_comes_after_a_model_is_not_of_its_bytes(made):
    # given metrics, when the model is trained again (whose file differs from dump to dump)
    before = made.store.info("model", DS, "model.skops").sha256
    made.make("train")
    assert made.store.info("model", DS, "model.skops").sha256 != before
    # then they are up to date
    assert why(made, "metrics", "predictions") == [None, None]


@pytest.mark.parametrize("kind", ["changed", "same size", "gone", "directory", "fifo"])
def test_a_delivered_file_that_is_another_one_makes_its_day_stale(made, kind):
    place = made.store.folder("raw_data", DS) / "data.csv"
    text = place.read_bytes()
    place.unlink()
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind != "gone":
        place.write_bytes(text.replace(b"red", b"rot" if kind == "same size" else b"purple"))
    (reason,) = why(made, "raw_data")
    assert reason == ("data.csv is missing" if kind == "gone" else "data.csv has changed")


@pytest.mark.parametrize("text", ["", "{}"])
def test_a_manifest_that_cannot_be_read_makes_its_day_stale(made, text):
    (made.store.folder("split", DS) / "split.manifest.json").write_text(text)
    reason, _ = why(made, "split", "model")
    assert "split.manifest.json is not a manifest that this version can read" in reason
    made.make("split")
    assert why(made, "split", "model") == [None, None]


def test_a_target_that_comes_later_makes_its_day_stale_and_no_predictions(made, project):
    # given a day without a target that was predicted
    late = project()
    data, target = mixed(80, seed=1)
    late.deliver(NEXT, data)
    late.make("register", "predict", ds=NEXT)
    assert why(late, "raw_data", "predictions", ds=NEXT) == [None, None]
    # when the target comes, then predictions, which need none, are as they would be made now
    late.deliver(NEXT, target=target)
    assert why(late, "raw_data", "predictions", ds=NEXT) == ["target.csv was delivered later", None]
    # and another target concerns what is made of it
    made.deliver(DS, target=mixed(80, seed=1)[1])
    assert why(made, "processed", "predictions") == ["raw_data is not up to date: target.csv has changed", None]
    # and other data concern both
    made.deliver(DS, data)
    changed = "raw_data is not up to date: data.csv has changed"
    assert why(made, "processed", "predictions") == [changed, changed]


def test_a_broken_target_is_up_to_date_until_it_is_delivered_again(project):
    made = project()
    data, target = mixed(80)
    made.deliver(DS, data, "")
    made.make("register")
    assert why(made, "raw_data") == [None]
    assert "target.csv is empty" in made.refused("process")
    made.deliver(DS, target=target)
    assert why(made, "raw_data") == ["target.csv has changed"]


def test_a_full_disk_ends_the_request_so_that_it_is_retried(made, monkeypatch):
    # given a step that meets a full disk while it writes a partition
    def fill(inputs, params, ds):
        def blocks():
            yield made.table("raw_data", "data.csv")
            with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
                full.write(b"x")

        return replace(outcome, outputs={"predictions.csv": blocks()})

    request = made.request("predict", DS, NEXT)
    outcome = STEPS["predict"].function()({"data.csv": iter(()), "model.skops": None}, made.params, DS)
    before = made.files()
    monkeypatch.setitem(STEPS, "predict", replace(STEPS["predict"], function=lambda: fill))
    # when it runs, then it is no fault of the day, and all files are as they were
    with pytest.raises(TemporaryStorageError, match=f"predictions of {DS} was not published"):
        list(Runner(made.store).run(request))
    assert made.files() == before


def test_a_folder_that_cannot_be_written_concerns_its_day_only(made):
    # given a file where a day's folder should be
    made.deliver(NEXT, *mixed(80))
    made.make("register", ds=NEXT)
    (made.store.root / "processed" / NEXT).write_text("")
    bad, good = reversed(made.run("process", DS, NEXT))
    assert good.error is None
    assert f"processed of {NEXT} cannot be read" in bad.error or f"processed of {NEXT} was not published" in bad.error
    assert str(made.store.root / "processed" / NEXT) in bad.error
