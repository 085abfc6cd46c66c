"""Whatever is planted in place of what we had made, and wherever rights are missing: as with deliveries."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from hostile_files import SPECIALS, Special, changed_json, damaged, put, seen
from hypothesis import given
from hypothesis import strategies as st
from places import delivered, look, place, run
from projects import DS, Project

from mlops_assets.runtime.request import Request
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.store.layout import FILES, manifest_name
from mlops_assets.store.local import LocalStore


@pytest.fixture(scope="module")
def ready(_trained: Path) -> Path:
    """A data root in which everything was made of one day."""
    project = Project(Settings(_env_file=None, home=_trained / ".mlops", data_dir=_trained / "data", source="files"))
    model = project.model_file(DS)
    assert run(project, "score", "v1", models={"v1": model}, days={"split": (DS,)})
    assert run(project, "gate", DS, days={"scores": ("v1",)}, inputs={"champion": None})
    return _trained / "data"


READERS = {
    "raw_data": ("process", "predict", "register"),
    "processed": ("split", "process"),
    "split": ("evaluate", "score", "train", "split"),
    "model": ("evaluate", "train"),
    "metrics": ("evaluate",),
    "production_model": ("predict",),
    "predictions": ("predict",),
    "scores": ("gate", "score"),
    "verdict": ("gate",),
}
"""Asset -> the steps that read it, then the one that makes it."""


@st.composite
def unfinished(draw: Any, manifest: bytes, asset: str, name: str) -> dict[str, bytes | Special]:
    """A publication that was committed and cut off, as if it were ours: file name -> content."""
    own = json.loads(manifest)
    if draw(st.booleans()):  # as of a generated day
        own["files"] = [{**info, "delimiter": None} for info in own["files"]]
    intent = json.dumps(own).encode()
    files = {f".{manifest_name(asset)}.next": draw(changed_json(intent)) if draw(st.booleans()) else intent}
    if draw(st.booleans()):
        files[f".{name}.staged"] = b"id,planted\n1,2\n"
    if asset != "raw_data" and draw(st.booleans()):  # there it may say that a delivered file was made here
        files[manifest_name(asset)] = draw(changed_json(manifest))
    return files


@st.composite
def vouched_for(draw: Any, manifest: bytes, asset: str, name: str, content: bytes) -> dict[str, bytes | Special]:
    """A file of any content, with a manifest that has its digest."""
    after = draw(changed_json(content) if name.endswith(".json") else damaged(content))
    document = json.loads(manifest)
    for info in document["files"]:
        if info["name"] == name:
            info["sha256"], info["size"] = hashlib.sha256(after).hexdigest(), len(after)
    return {manifest_name(asset): json.dumps(document).encode(), name: after}


@st.composite
def plants(draw: Any, ready: Path, asset: str) -> dict[str, bytes | Special]:
    """Path below the data root -> the hostile content that replaces a published file of an asset."""
    folder = LocalStore(ready).folder(asset, "v1" if asset == "scores" else DS)
    manifest, name = manifest_name(asset), draw(st.sampled_from(FILES[asset]))
    original = (folder / manifest).read_bytes()
    drafts = st.sampled_from([f".{one}.staged" for one in (name, manifest)])
    places = st.sampled_from([manifest, name, f".{manifest}.next"])
    files = draw(
        st.one_of(
            st.fixed_dictionaries({manifest: changed_json(original)}),
            unfinished(original, asset, name),
            vouched_for(original, asset, name, (folder / name).read_bytes()),
            st.dictionaries(drafts, SPECIALS | st.just(b"left by a crash"), min_size=1),
            st.dictionaries(places, SPECIALS, min_size=1, max_size=1),
        )
    )
    return {str(folder.relative_to(ready) / one): content for one, content in files.items()}


@cases(150)
@given(data=st.data())
def test_what_is_planted_in_the_data_root(ready: Path, data: st.DataObject) -> None:
    asset = data.draw(st.sampled_from(["raw_data", "raw_data", *READERS]))
    planted = data.draw(plants(ready, asset))
    with place() as here:
        project = here.project
        shutil.copytree(ready, project.store.root)
        model = project.model_file(DS)
        for path, content in planted.items():
            put(project.store.root / path, content, here.outside)
        csv = {
            name: content
            for name, content in seen(project.store.folder("raw_data", DS)).items()
            if name.endswith(".csv")
        }
        look(project)
        more = {
            "score": {"models": {"v1": model}, "days": {"split": (DS,)}},
            "gate": {"days": {"scores": ("v1",)}, "inputs": {"champion": None}},
        }
        for step in READERS[asset]:
            run(project, step, "v1" if step == "score" else DS, planted=True, **more.get(step, {"models": {DS: model}}))
        look(project)
        assert delivered(here, DS, csv)


@cases(20)
@given(data=st.data())
def test_assets_cope_with_what_is_planted(_trained: Path, ready: Path, data: st.DataObject) -> None:
    asset = data.draw(st.sampled_from(["raw_data", *READERS]))
    planted = data.draw(plants(ready, asset))
    with place() as here:
        project = here.project
        shutil.copytree(ready, project.store.root)
        (project.settings.home / "mlflow").mkdir(parents=True)
        shutil.copy(_trained / ".mlops" / "mlflow" / "mlflow.db", project.settings.home / "mlflow" / "mlflow.db")
        for path, content in planted.items():
            put(project.store.root / path, content, here.outside)
        made = {asset} - {"scores", "verdict"} | {"metrics", "production_model", "predictions"}
        outcome = project.materialize(*(one for one in ASSETS if one in made), ds=DS)
        for message in (*outcome.failures.values(), str(outcome.metadata("production_model"))):
            assert "Unexpected" not in message


MODES = st.sampled_from([0o000, 0o200, 0o400, 0o444, 0o500, 0o555])


@cases(40)
@given(asset=st.sampled_from(["raw_data", "raw_data", *READERS]), mode=MODES, data=st.data())
def test_missing_rights(ready: Path, without_root: Any, asset: str, mode: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["", *FILES[asset], manifest_name(asset)]))
    with place() as here:
        project = here.project
        shutil.copytree(ready, project.store.root)
        model = project.model_file(DS)
        target = project.store.folder(asset, "v1" if asset == "scores" else DS) / name
        with without_root(project.store.root.parent.parent):
            target.chmod(mode)
            try:
                look(project)
                for step in {"register", "process", "split", "predict"} & {*READERS[asset]}:
                    request = Request(step, (DS,), project.params, models={DS: model})
                    (result,) = project._runner.run(request)
                    assert result.error is None or DS in result.error
            finally:
                target.chmod(0o700)
