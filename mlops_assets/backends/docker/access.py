"""What a step's container may reach: the directories that the step declares, and no more."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.backends.docker.config import DockerConfig
from mlops_assets.steps.catalog import STEPS
from mlops_assets.steps.declaration import Kind
from mlops_assets.store.layout import FOLDERS, MODEL_FILES, partition_folder

IMAGE_USER = "10001:10001"
"""The user of the images: what containers run as where the caller is root."""


@dataclass(frozen=True)
class Directory:
    """A directory that a container sees, under the same path as this process.

    Attributes:
        path: Where it is.
        writable: Whether the container may write there.
    """

    path: Path
    writable: bool


def directories(step: str, data_dir: Path, partitions: Iterable[str]) -> list[Directory]:
    """The folders of the assets that the step reads and writes; for a step with a model the folders of models.

    Where an asset's folder holds those of others (``production``), the step writes to its partitions' folders only.
    """
    declared = STEPS[step]
    models = [MODEL_FILES, FOLDERS["model"]] if any(one.kind is Kind.MODEL for one in declared.inputs) else []
    # The model in production is one of the registry's files; the rest of production's folder is not read.
    inputs = [FOLDERS[one.asset] for one in declared.inputs if one.asset != "production_model"]
    outputs = [path for one in declared.outputs for path in _written(one.asset, data_dir, partitions)]
    read = [data_dir / folder for folder in (*inputs, *models)]
    may_write = {**dict.fromkeys(read, False), **dict.fromkeys(outputs, True)}
    return [Directory(path, writable) for path, writable in may_write.items()]


def _written(asset: str, data_dir: Path, partitions: Iterable[str]) -> list[Path]:
    if any(folder.startswith(f"{FOLDERS[asset]}/") for folder in FOLDERS.values()):
        return [partition_folder(data_dir, asset, one) for one in partitions]
    return [data_dir / FOLDERS[asset]]


def mounts(directories: Iterable[Directory], config: DockerConfig) -> list[dict[str, Any]]:
    """Bind mounts as the engine's API takes them."""
    return [
        {
            "Type": "bind",
            "Source": str(config.on_host(one.path)),
            "Target": str(one.path),
            "ReadOnly": not one.writable,
        }
        for one in directories
    ]


def umask() -> int:
    """This process's; the other way to know it is to change it."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    return 0o022


def user(config: DockerConfig) -> str:
    """``uid:gid`` of the containers: the caller's, so that the files are the caller's; never root unless it is set.

    Where the caller is root, the owner of the data root; where that is root, too, the images' own user.
    """
    if config.user:
        return config.user
    if os.getuid():
        return f"{os.getuid()}:{os.getgid()}"
    with suppress(FileNotFoundError):
        found = config.data_dir.stat()
        if found.st_uid:
            return f"{found.st_uid}:{found.st_gid}"
    return IMAGE_USER


def hardening(config: DockerConfig) -> dict[str, Any]:
    """How all our containers are confined."""
    return {
        "user": user(config),
        "read_only": True,
        "tmpfs": {"/tmp": f"nosuid,nodev,size={config.tmpfs}"},  # noqa: S108  # the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "group_add": [str(group) for group in os.getgroups() if group] if os.getuid() and not config.user else None,
        "log_config": {"type": "json-file", "config": {"max-size": "16m"}},
        "mem_limit": config.memory,
        "memswap_limit": config.memory,
        "nano_cpus": int(config.cpus * 1e9) if config.cpus else None,
        "pids_limit": config.pids,
    }


def make_accessible(directories: Sequence[Directory], names: Iterable[str], user: str) -> None:
    """Make the directories that are missing (the engine would refuse, or make them root's) and let ``user`` write.

    Only root has anything to hand over (any other caller runs the containers as itself), and only what is root's is
    handed over: never what others delivered, nor what a link leads to.

    Args:
        directories: What a container is to see.
        names: Of the folders in a writable directory that are handed over, too.
        user: ``uid:gid``.
    """
    for one in directories:
        one.path.mkdir(parents=True, exist_ok=True)
    owner, names = new_owner(user), set(names)
    for one in directories:
        if one.writable and owner is not None:
            hand_over(one.path, owner, names)


def new_owner(user: str) -> tuple[int, int] | None:
    """The uid and gid that root hands folders over to for containers of ``user``; None where nothing is."""
    uid, _, gid = user.partition(":")
    return (int(uid), int(gid or uid)) if os.getuid() == 0 and int(uid) else None


def hand_over(directory: Path, owner: tuple[int, int], names: Iterable[str]) -> None:
    """Change the owner of a directory and of the folders of these names in it, where it is root.

    No file is handed over: publishing a file takes its folder. No link is followed.
    """
    if directory.is_symlink():
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name in (".", *names):
            with suppress(FileNotFoundError):
                if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid == 0:
                    os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
    finally:
        os.close(descriptor)
