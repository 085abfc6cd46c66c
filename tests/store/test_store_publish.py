"""Publication: whatever happens to a publisher, a reader sees the old partition or the new one, whole."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import publishers
import pytest
from publishers import ASSET, DS, FILES, NOTHING, publish

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.store.local import LocalStore


def words_of(store: LocalStore) -> set[str]:
    """What a reader sees: one word if the partition is whole."""
    manifest = store.require(ASSET, DS)
    texts = [store.read_bytes(ASSET, DS, name)[0].decode() for name in FILES]
    return {str(manifest.metadata["word"]), *(line.split()[1] for text in texts for line in text.splitlines())}


def hidden_files(store: LocalStore) -> list[str]:
    return [path.name for path in store.root.rglob(".*")]


def crashed_stores(folder: Path, over: str) -> list[LocalStore]:
    subprocess.run([sys.executable, publishers.__file__, "crash", folder, over], check=True)
    return [LocalStore(one) for one in sorted(folder.iterdir(), key=lambda one: int(one.name))]


def test_a_crash_at_any_instant_leaves_the_old_or_the_new_partition(tmp_path):
    # given a publication over an old partition that was killed at its first, second, … instant
    stores = crashed_stores(tmp_path, "over-old")
    # when another process reads
    seen = [words_of(store) for store in stores]
    # then it is wholly the old one up to some instant, and wholly the new one from there on
    assert len(seen) >= 10
    committed = seen.index({"new"})
    assert seen == [{"old"}] * committed + [{"new"}] * (len(seen) - committed)
    assert 0 < committed < len(seen) - 2
    # and the next publication replaces it and leaves nothing behind
    for store in stores:
        publish(store, "next")
        assert words_of(store) == {"next"}
        assert not hidden_files(store)


def test_a_crash_of_a_first_publication_leaves_nothing_or_all(tmp_path):
    # given first publications that were killed
    stores = crashed_stores(tmp_path, "first")
    # when another process lists and reads
    for store in stores:
        listed = store.partitions(ASSET)
        # then a partition that is listed can be read, and one that is not is missing
        if listed:
            assert words_of(store) == {"new"}
        else:
            with pytest.raises(MissingPartitionError, match=f"materialize split --partition {DS}"):
                store.require(ASSET, DS)
            assert not any((store.folder(ASSET, DS) / name).exists() for name in FILES)
        publish(store, "next")
        assert words_of(store) == {"next"}
        assert not hidden_files(store)


def test_a_publication_that_fails_leaves_the_old_partition_and_no_trace(tmp_path):
    # given a partition
    store = LocalStore(tmp_path)
    publish(store, "old")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    # when a publication fails half-way
    with pytest.raises(ZeroDivisionError), store.publication(ASSET, DS, FILES) as publication:
        publication.bytes(FILES[0], b"half")
        1 / 0  # noqa: B018
    # then all is as it was
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_first_publication_that_fails_leaves_no_folder(tmp_path):
    store = LocalStore(tmp_path)
    with pytest.raises(ZeroDivisionError), store.publication(ASSET, DS, FILES) as publication:
        publication.bytes(FILES[0], b"half")
        1 / 0  # noqa: B018
    assert not store.folder(ASSET, DS).exists()


def test_an_interruption_after_the_commit_loses_nothing(tmp_path, monkeypatch):
    # given a partition
    store = LocalStore(tmp_path)
    publish(store, "old")
    rename, renames = os.replace, []

    def interrupted(source, target):
        if len(renames) == 2:  # the commit and the first of the two files
            raise KeyboardInterrupt
        renames.append(target)
        rename(source, target)

    # when Ctrl-C hits a publication between the renames
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            publish(store, "new")
    # then the next reader sees the new partition
    assert words_of(store) == {"new"}
    assert not hidden_files(store)


def committed_only(store: LocalStore, word: str) -> None:
    """A publication that was killed right after its commit: the files are still staged."""
    folder = store.folder(ASSET, DS)
    child = os.fork()
    if not child:
        rename = os.replace

        def last(source, target):
            rename(source, target)
            os._exit(0)

        Path.replace = last
        publish(store, word)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert (folder / ".train.csv.staged").exists()


def test_a_file_that_is_delivered_after_a_crash_is_not_overwritten(tmp_path):
    # given publications that were killed after their commit, over an old partition and over none
    for name in ("old", ""):
        store = LocalStore(tmp_path / f"over-{name}")
        if name:
            publish(store, name)
        committed_only(store, "stale")
        # when a user delivers a file there, and a reader finds the unfinished publication
        delivered = store.folder(ASSET, DS) / FILES[0]
        delivered.write_bytes(b"precious")
        store.manifest(ASSET, DS)
        # then the file is still the delivered one, and nothing else is left of the publication
        assert delivered.read_bytes() == b"precious"
        assert not hidden_files(store)


def test_a_stale_staged_file_never_overwrites_a_delivered_one(tmp_path):
    # given a generator that was killed before its commit, and a file that a user delivered since
    store = LocalStore(tmp_path)
    folder = store.folder("raw_data", DS)
    folder.mkdir(parents=True)
    (folder / ".data.csv.staged").write_bytes(b"stale")
    (folder / "data.csv").write_bytes(b"precious")
    # when the delivered file is registered (published as it lies there)
    from mlops_assets.store.manifest import FileInfo

    with store.publication("raw_data", DS, ["data.csv", "target.csv"]) as publication:
        publication.commit([FileInfo("data.csv", "digest", 8)], **NOTHING)
    # then it is the delivered one
    assert (folder / "data.csv").read_bytes() == b"precious"
    assert not hidden_files(store)


def test_a_delivered_file_is_not_overwritten_by_a_step_that_makes_one(tmp_path):
    # given a file that nobody published
    store = LocalStore(tmp_path)
    delivered = store.folder("raw_data", DS) / "data.csv"
    delivered.parent.mkdir(parents=True)
    delivered.write_bytes(b"precious")
    # when a step wants to put its own there
    with (
        pytest.raises(DataError, match=r"raw/2024-01-01/data\.csv was delivered.*MLOPS_SOURCE=files"),
        store.publication("raw_data", DS, ["data.csv"]) as publication,
    ):
        publication.bytes("data.csv", b"generated")
    # then it is refused
    assert [path.name for path in delivered.parent.iterdir()] == ["data.csv"]
    assert delivered.read_bytes() == b"precious"


def test_a_partition_whose_manifest_cannot_be_read_can_be_made_again(tmp_path):
    store = LocalStore(tmp_path)
    publish(store, "old")
    (store.folder(ASSET, DS) / "split.manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"split\.manifest\.json.*Run: mlops-assets materialize split"):
        store.require(ASSET, DS)
    publish(store, "new")
    assert words_of(store) == {"new"}


def test_two_publishers_and_a_reader_do_not_meet(tmp_path):
    # given a partition
    store = LocalStore(tmp_path)
    publish(store, "first")
    # when two processes publish it again and again and this one reads
    command = [sys.executable, publishers.__file__, "loop", tmp_path]
    processes = [subprocess.Popen([*command, word, "40"]) for word in ("one", "two")]
    read = []
    while any(process.poll() is None for process in processes):
        read.append(store.read_bytes(ASSET, DS, FILES[0])[0])
    # then nobody fails, each file that was read is whole, and in the end the partition is
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(read)) > 1
    assert all(len(set(data.splitlines())) == 1 for data in read)
    assert len(words_of(store)) == 1
    assert not hidden_files(store)


def test_a_publisher_that_gives_up_does_not_take_the_folder_from_the_next(tmp_path, monkeypatch):
    # given a first publication under way, which made the folder, and a second publisher that waits for it
    store = LocalStore(tmp_path)
    second, waits, lock = threading.Thread(target=publish, args=(store, "second")), threading.Event(), fcntl.flock
    with pytest.raises(ZeroDivisionError), store.publication(ASSET, DS, FILES):
        monkeypatch.setattr(fcntl, "flock", lambda *arguments: (waits.set(), lock(*arguments)))
        second.start()
        waits.wait()
        1 / 0  # noqa: B018
    # when the first gives up and removes the folder
    second.join()
    # then the second publishes
    assert words_of(store) == {"second"}


def test_assets_that_share_a_folder_are_published_apart(tmp_path):
    # given a model
    store = LocalStore(tmp_path)
    with store.publication("model", DS, ["model.skops"]) as publication:
        info = publication.bytes("model.skops", b"model")
        publication.commit([info], **NOTHING)
    # when its metrics are published, and the model is read meanwhile
    with store.publication("metrics", DS, ["metrics.json"]) as publication:
        info = publication.json("metrics.json", {"roc_auc": 0.5, "of": "ü"})
        assert store.read_bytes("model", DS, "model.skops")[0] == b"model"
        publication.commit([info], **NOTHING)
    # then both are there
    assert store.partitions("model") == store.partitions("metrics") == [DS]
    assert store.read_json("metrics", DS, "metrics.json") == {"roc_auc": 0.5, "of": "ü"}
