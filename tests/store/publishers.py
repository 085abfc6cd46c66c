"""Processes that publish, for tests of what others see meanwhile: ``python publishers.py crash|loop …``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_assets.store.local import LocalStore

ASSET, DS = "split", "2024-01-01"
FILES = ("train.csv", "val.csv")
NOTHING: dict[str, Any] = {
    "recipe": "", "inputs": {}, "settings": {}, "step_version": "1", "image": "", "metadata": {},
}  # fmt: skip
"""What a manifest says beside its files, where that does not matter."""


def publish(store: LocalStore, word: str) -> None:
    """A partition of two files that both hold ``word``."""
    with store.publication(ASSET, DS, FILES) as publication:
        infos = [publication.bytes(name, f"{name} {word}\n".encode() * 1_000) for name in FILES]
        publication.commit(infos, **{**NOTHING, "metadata": {"word": word}})


def kill_at(instant: int) -> Callable[[], None]:
    """From now on count what changes the disk, and die without any clean-up just before number ``instant``."""
    counted = 0

    def count() -> None:
        nonlocal counted
        if counted == instant:
            os.kill(os.getpid(), signal.SIGKILL)
        counted += 1

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}:
            count()
        if event == "open" and int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR):
            count()

    flush = os.fsync
    os.fsync = lambda descriptor: (count(), flush(descriptor))[1]  # type: ignore[assignment,func-returns-value]
    sys.addaudithook(hook)
    return count


def crash(folder: Path, *, over_old: bool) -> None:
    """One publication for each instant at which it can be killed, each in a store of its own: ``folder/INSTANT``."""
    for instant in range(100):
        store = LocalStore(folder / str(instant))
        if over_old:
            publish(store, "old")
        child = os.fork()
        if not child:
            count = kill_at(instant)
            publish(store, "new")
            count()  # the instant after the last one
            os._exit(0)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            return


def loop(root: Path, word: str, times: int) -> None:
    """Publish again and again."""
    for number in range(times):
        publish(LocalStore(root), f"{word}{number}")


if __name__ == "__main__":
    if sys.argv[1] == "crash":
        crash(Path(sys.argv[2]), over_old=sys.argv[3] == "over-old")
    else:
        loop(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
