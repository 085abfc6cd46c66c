"""Whatever others put into the data root, nothing outside of it is written, nothing hangs, and the message is clear."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from pathlib import Path

import pytest
from publishers import ASSET, DS, FILES, publish

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.steps.catalog import STEPS
from mlops_assets.store.disk import StorageError, TemporaryStorageError
from mlops_assets.store.layout import FILES as NAMES
from mlops_assets.store.listing import Survey
from mlops_assets.store.local import LocalStore
from mlops_assets.store.manifest import FileInfo, Manifest


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def intend(store: LocalStore, asset: str, *infos: FileInfo, of: str = "") -> Path:
    """A publication that was committed and not finished, as anybody can put it there; its place."""
    folder = store.folder(asset, DS)
    folder.mkdir(parents=True, exist_ok=True)
    intent = folder / f".{asset}.manifest.json.next"
    intent.write_text(Manifest(of or asset, DS, infos).to_json())
    return intent


def test_all_files_of_all_steps_are_known():
    for step in STEPS.values():
        assert {file.name for file in step.outputs} <= {*NAMES[step.asset]}


@pytest.mark.parametrize("asset", ["raw_data", "split"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "unknown"])
def test_a_planted_publication_moves_no_file_to_another_place(store, tmp_path, asset, kind):
    # given an unfinished publication whose file has the name of a path, or one that the asset has not
    victim = tmp_path / "victim.pth"
    folder = store.folder(asset, DS)
    name = {"absolute": str(victim), "relative": "../../../victim.pth", "unknown": "victim.pth"}[kind]
    intent = intend(store, asset, FileInfo(name, "0" * 64, 4))
    for place in (folder / f".{name}.staged", folder / ".victim.pth.staged"):
        if place.parent.is_dir():
            place.write_text("evil")
    # the draft of a path is where the path says: .NAME.staged with all its slashes
    (folder / f".{name}.staged").parent.mkdir(parents=True, exist_ok=True)
    (folder / f".{name}.staged").write_text("evil")
    # when the day is looked at, and published
    assert store.manifest(asset, DS) is None
    # then the file is nowhere, and the publication is gone
    assert not victim.exists()
    assert not (folder / "victim.pth").exists()
    assert not intent.exists()


def test_a_planted_publication_of_delivered_files_is_dropped(store):
    # given one that says what a delivered file of raw data holds, and another asset's in its place
    intents = [intend(store, "raw_data", FileInfo("data.csv", "0" * 64, 4, 1, {"x": "int64"}, ","))]
    intents += [intend(store, "split", FileInfo("train.csv", "0" * 64, 4), of="model")]
    # then neither is published
    assert store.manifest("raw_data", DS) is store.manifest("split", DS) is None
    assert not any(intent.exists() for intent in intents)


def test_a_planted_publication_does_not_replace_a_registered_delivery(store):
    # given a delivered file that was registered
    delivered = b"a\n1\n"
    store.folder("raw_data", DS).mkdir(parents=True)
    (store.folder("raw_data", DS) / "data.csv").write_bytes(delivered)
    info = FileInfo("data.csv", hashlib.sha256(delivered).hexdigest(), len(delivered), 1, {"a": "int64"}, ",")
    (store.folder("raw_data", DS) / "raw_data.manifest.json").write_text(Manifest("raw_data", DS, (info,)).to_json())
    # when a publication that was cut off, as of a generated day, would put another file in its place
    intent = intend(store, "raw_data", FileInfo("data.csv", "0" * 64, 4))
    (store.folder("raw_data", DS) / ".data.csv.staged").write_bytes(b"evil")
    # then it is dropped
    assert store.require("raw_data", DS).files == (info,)
    assert (store.folder("raw_data", DS) / "data.csv").read_bytes() == delivered
    assert not intent.exists()


@pytest.mark.parametrize("name", [".train.csv.staged", ".split.manifest.json.staged"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_draft_follows_no_link(store, tmp_path, name, exists):
    # given a link in the place of a draft
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    store.folder(ASSET, DS).mkdir(parents=True)
    (store.folder(ASSET, DS) / name).symlink_to(victim)
    # when the partition is published
    publish(store, "new")
    # then the link was not written through
    assert (victim.read_text() if exists else victim.exists()) == ("precious" if exists else False)
    assert store.read_bytes(ASSET, DS, FILES[0])[0].startswith(b"train.csv new")


def test_a_link_that_is_put_there_meanwhile_is_refused(store, tmp_path):
    with pytest.raises(StorageError, match="File exists"), store.publication(ASSET, DS, FILES) as publication:
        (store.folder(ASSET, DS) / ".train.csv.staged").symlink_to(tmp_path / "victim")
        publication.bytes("train.csv", b"x")
    assert not (tmp_path / "victim").exists()


def put(place: Path, kind: str) -> None:
    place.unlink(missing_ok=True)
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
@pytest.mark.parametrize("name", ["split.manifest.json", "train.csv"])
def test_what_is_no_regular_file_is_refused_by_name(store, kind, name):
    # given a partition of which one file is none
    publish(store, "old")
    put(store.folder(ASSET, DS) / name, kind)
    # then reading says so at once
    with pytest.raises(DataError, match=rf"{store.folder(ASSET, DS)}/{name} is no regular file. Expected one; remove"):
        store.read_bytes(ASSET, DS, "train.csv")
    # and publishing either replaces it or names it
    if kind == "directory":
        with pytest.raises(StorageError, match=rf"{name}: Is a directory"):
            publish(store, "new")
    else:
        publish(store, "new")
        assert store.read_bytes(ASSET, DS, "train.csv")[0].startswith(b"train.csv new")


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_an_unfinished_publication_that_is_no_file_is_dropped(store, kind):
    publish(store, "old")
    intent = store.folder(ASSET, DS) / ".split.manifest.json.next"
    put(intent, kind)
    assert store.require(ASSET, DS).metadata == {"word": "old"}
    assert not intent.is_symlink() and not intent.exists()


@pytest.mark.parametrize(
    "text", ['{"format": 2, "files": [{"name": 1}]}', '{"format": 2, "files": [3]}', "\0", "[]", "[" * 10_000]
)
def test_a_manifest_of_any_content_is_refused_by_name(store, text):
    folder = store.folder(ASSET, DS)
    folder.mkdir(parents=True)
    (folder / "split.manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"split\.manifest\.json is not a manifest"):
        store.manifest(ASSET, DS)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (Manifest("split", DS, (FileInfo("../../secret", "0" * 64, 1),)), "split has no ../../secret"),
        (Manifest("split", "2024-01-02", (FileInfo("train.csv", "0" * 64, 1),)), "it is of split of 2024-01-02"),
        (Manifest("model", DS, (FileInfo("model.skops", "0" * 64, 1),)), "it is of model of"),
    ],
)
def test_a_manifest_names_only_files_of_its_partition(store, manifest, why):
    folder = store.folder(ASSET, DS)
    folder.mkdir(parents=True)
    (folder / "split.manifest.json").write_text(manifest.to_json())
    with pytest.raises(DataError, match=rf"is not a manifest that this version can read \({why}"):
        store.manifest(ASSET, DS)


def test_what_no_command_makes_is_made_by_the_gate(store):
    with pytest.raises(MissingPartitionError, match=r"scores of v7 is missing .* Materialize production_model again"):
        store.require("scores", "v7")


def test_a_full_disk_is_named_and_retried(store):
    # given a partition
    publish(store, "old")
    # when the disk is full while the next one is written
    with pytest.raises(TemporaryStorageError) as caught, store.publication(ASSET, DS, FILES) as publication:
        publication.bytes("train.csv", b"half")
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
    # then the message says which day and what to do, it is worth a retry, and the old partition is there
    assert str(caught.value).startswith(f"split of {DS} was not published: {store.folder(ASSET, DS)}: No space left")
    assert "Free some space" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).can_retry
    assert store.require(ASSET, DS).metadata == {"word": "old"}


def test_a_data_root_that_is_a_file_is_named(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match=rf"split of {DS} was not published: {tmp_path}/data.*: Not a directory"):
        publish(LocalStore(tmp_path / "data"), "new")


def test_missing_rights_are_named(without_root):
    # given a folder that its user cannot write
    with tempfile.TemporaryDirectory() as place:
        store = LocalStore(Path(place) / "data")
        publish(store, "old")
        folder = store.folder(ASSET, DS)
        with without_root(Path(place)):
            folder.chmod(0o500)
            # when / then
            with pytest.raises(StorageError, match=rf"{folder}.*: Permission denied. Give the user"):
                publish(store, "new")
            # and what was there stays
            assert store.require(ASSET, DS).files
            folder.chmod(0o700)


def test_a_day_without_rights_does_not_keep_others_from_being_seen(without_root):
    # given two days, of which one cannot be looked into
    with tempfile.TemporaryDirectory() as place:
        store = LocalStore(Path(place) / "data")
        publish(store, "old")
        folder = store.folder(ASSET, "2024-01-02")
        folder.mkdir()
        with without_root(Path(place)):
            folder.chmod(0)
            # then the other one is seen
            assert store.partitions(ASSET) == [DS]
            assert {ds: bool(files) for ds, files in Survey(store).listing(ASSET).items()} == {
                DS: True,
                folder.name: False,
            }
            # and that one is named when it is asked for
            with pytest.raises(StorageError, match=f"{folder.name}.*Permission denied. Give the user"):
                store.manifest(ASSET, folder.name)
            # and so is a folder of all days
            folder.parent.chmod(0)
            for look in (store.partitions, Survey(store).listing):
                with pytest.raises(StorageError, match=f"The days of {ASSET} cannot be listed: .*Give the user"):
                    look(ASSET)
            folder.parent.chmod(0o700)
            folder.chmod(0o700)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"files": []}, "'files' is empty"),
        ({"files": 7}, "'files' is missing or of another type"),
        ({"files": [7]}, "no mapping"),
        ({"metadata": None}, "'metadata' is missing"),
        ({"inputs": []}, "'inputs' is missing"),
        ({"inputs": {"raw": 7}}, "no text"),
        ({"recipe": 7}, "'recipe' is missing"),
        ({"more": 7}, "it has 'more'"),
        ({"asset": "\ud800"}, "surrogates not allowed"),
        ({"size": "7"}, "'size' is missing"),
        ({"rows": "7"}, "'rows' is missing"),
        ({"rows": 10**400}, "a number is too large"),
        ({"columns": ["a"]}, "'columns' is missing"),
        ({"columns": {"a": 7}}, "no text"),
        ({"missing_values": [7]}, "no text"),
    ],
)
def test_a_manifest_of_other_types_is_a_clear_error(store, changes, why):
    folder = store.folder(ASSET, DS)
    folder.mkdir(parents=True)
    content = json.loads(Manifest(ASSET, DS, (FileInfo("train.csv", "0" * 64, 1),)).to_json())
    (info,) = content["files"]
    info.update({name: value for name, value in changes.items() if name in info})
    content.update({name: value for name, value in changes.items() if name not in info})
    (folder / "split.manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"is not a manifest that this version can read \(.*{why}"):
        store.manifest(ASSET, DS)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b'"', {"a": "int64"}),
        (b"", {"a": "int64"}),
        (b"\xff\n1\n", {}),
        (b"a\nx\n", {"a": "int64"}),
        (b"a\n1\n2,3\n", {"a": "int64"}),
        (b"a\n1\n", {"a": "list<x>"}),
        (b"a\n1\n", {"a": "binary_view"}),
    ],
)
def test_a_file_that_is_not_what_its_manifest_says_is_refused_by_name(store, content, columns):
    # given a file and a manifest that fit together by digest, and not by what they hold
    store.folder(ASSET, DS).mkdir(parents=True)
    for name in ("train.csv", "split.manifest.json"):
        info = FileInfo("train.csv", hashlib.sha256(content).hexdigest(), len(content), 1, columns)
        text = content if name == "train.csv" else Manifest(ASSET, DS, (info,)).to_json().encode()
        (store.folder(ASSET, DS) / name).write_bytes(text)
    # when it is read, in one piece, as a stream, or as JSON / then it is named
    for read in (store.read_table, lambda *file: list(store.stream_table(*file)), store.read_json):
        with pytest.raises(DataError, match=rf"split/{DS}/train.csv is not what split.manifest.json says of it"):
            read(ASSET, DS, "train.csv")


@pytest.mark.parametrize("text", ["[]", "[" * 10_000, "7", "\ud800"])
def test_json_that_holds_no_mapping_is_refused_by_name(store, text):
    with store.publication("metrics", DS, ["metrics.json"]) as publication:
        info = publication.bytes("metrics.json", text.encode("utf-8", "surrogatepass"))
        publication.commit([info], recipe="", inputs={}, settings={}, step_version="", image="", metadata={})
    with pytest.raises(DataError, match=rf"models/{DS}/metrics.json is not what metrics.manifest.json says of it"):
        store.read_json("metrics", DS, "metrics.json")
