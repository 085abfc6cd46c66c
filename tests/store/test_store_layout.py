"""The layout under the data root is a contract with the users."""

from __future__ import annotations

import pytest
from publishers import NOTHING

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.store.local import LocalStore
from mlops_assets.store.manifest import FileInfo, Manifest


@pytest.mark.parametrize(
    ("asset", "folder"),
    [
        ("raw_data", "raw/2024-02-03"),
        ("processed", "processed/2024-02-03"),
        ("split", "split/2024-02-03"),
        ("model", "models/2024-02-03"),
        ("metrics", "models/2024-02-03"),
        ("predictions", "predictions/2024-02-03"),
    ],
)
def test_partitions_lie_where_users_expect_them(tmp_path, asset, folder):
    assert LocalStore(tmp_path).folder(asset, "2024-02-03") == tmp_path / folder


@pytest.mark.parametrize("ds", ["../2024-01-01", "2024-01-01/..", "20240101", "", "2024-1-1"])
def test_what_is_no_day_is_no_partition(tmp_path, ds):
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        LocalStore(tmp_path).folder("split", ds)


def test_only_published_days_are_listed_in_order(tmp_path):
    # given a store in which nothing was published
    store = LocalStore(tmp_path / "data")
    assert store.partitions("split") == []
    # when two days are published and other things lie about
    for ds in ("2024-01-02", "2023-12-31"):
        with store.publication("split", ds, ["train.csv"]) as publication:
            publication.commit([publication.bytes("train.csv", b"x")], **NOTHING)
    (store.root / "split" / "2024-01-05").mkdir()
    (store.root / "split" / "notes").mkdir()
    (store.root / "split" / "readme.txt").write_text("")
    # then the days are listed, oldest first
    assert store.partitions("split") == ["2023-12-31", "2024-01-02"]
    assert store.manifest("split", "2024-01-05") is None


def test_a_manifest_says_what_it_said():
    # given a manifest with everything in it
    files = (
        FileInfo("data.csv", "ab", 12, 3, {"ä, b": "timestamp[us, tz=UTC]", "n": "int64"}, ";"),
        FileInfo("model.skops", "cd", 5),
    )
    manifest = Manifest(
        "raw_data", "2024-01-01", files, "recipe", {"raw/x": "ef"}, {"seed": 1}, "7", "image", {"warnings": ["ü"]}
    )
    # when it is written and read
    text = manifest.to_json()
    # then it is the same, and so is the text of an equal one
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text).to_json() == text
    assert Manifest.from_json(text).digest == manifest.digest
    assert "ü" in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "files": []}', '{"format": 1, "files": []}', "{"])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    store = LocalStore(tmp_path)
    store.folder("split", "2024-01-01").mkdir(parents=True)
    (store.folder("split", "2024-01-01") / "split.manifest.json").write_text(text)
    with pytest.raises(DataError, match="is not a manifest that this version can read"):
        store.manifest("split", "2024-01-01")


def published(tmp_path, data=b"x" * 100) -> LocalStore:
    store = LocalStore(tmp_path)
    with store.publication("model", "2024-01-01", ["model.skops"]) as publication:
        info = publication.bytes("model.skops", data)
        publication.commit([info], **NOTHING)
    return store


def test_a_file_that_was_changed_is_not_read(tmp_path):
    # given a partition, in which one byte of a file is changed
    store = published(tmp_path)
    path = store.folder("model", "2024-01-01") / "model.skops"
    path.write_bytes(b"y" + path.read_bytes()[1:])
    # then reading says so and what to do
    with pytest.raises(DataError, match=r"models/2024-01-01/model\.skops was changed .* materialize model --partition"):
        store.read_bytes("model", "2024-01-01", "model.skops")


def test_a_file_that_is_gone_is_named(tmp_path):
    store = published(tmp_path)
    (store.folder("model", "2024-01-01") / "model.skops").unlink()
    with pytest.raises(DataError, match=r"models/2024-01-01/model\.skops is gone .* materialize model --partition"):
        store.read_bytes("model", "2024-01-01", "model.skops")
    with pytest.raises(DataError, match="is gone"):
        list(store.stream_table("model", "2024-01-01", "model.skops"))


def test_a_file_that_was_never_published_is_named(tmp_path):
    store = published(tmp_path)
    with pytest.raises(MissingPartitionError, match=r"models/2024-01-01/model\.txt is missing\. Deliver it"):
        store.read_bytes("model", "2024-01-01", "model.txt")
    with pytest.raises(MissingPartitionError, match="model of 2024-01-02 is missing"):
        store.read_bytes("model", "2024-01-02", "model.skops")


def test_no_number_that_json_does_not_know_is_written(tmp_path):
    store = LocalStore(tmp_path)
    with store.publication("metrics", "2024-01-01", ["metrics.json"]) as publication, pytest.raises(ValueError):
        publication.json("metrics.json", {"roc_auc": float("nan")})
