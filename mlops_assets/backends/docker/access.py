"""What a step's container may reach: the directories that the step declares, the tracking server, and no more."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops_assets.backends.docker.config import DockerConfig
from mlops_assets.errors import SettingsError
from mlops_assets.runtime.pipes import UMASK
from mlops_assets.steps.catalog import PROMOTE, PROMOTE_READS, STEPS
from mlops_assets.store.layout import FOLDERS
from mlops_assets.tracking.client import sqlite_path
from mlops_assets.tracking.config import TrackingConfig

IMAGE_USER = "10001:10001"
"""The user of the images: what containers run as where the caller is root."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_FOR_TRACKING = ("MLFLOW_", "AWS_")
"""Variables of these names go to the containers that talk to the tracking server or to its artifacts in S3."""


@dataclass(frozen=True)
class Directory:
    """A directory of ours that a container sees, under the same path.

    Attributes:
        path: As this process and the container see it.
        writable: Whether the container may write there.
        by_day: Whether it holds a folder a day, or is MLflow's.
    """

    path: Path
    writable: bool
    by_day: bool = True


def directories(step: str, config: DockerConfig, tracking: TrackingConfig) -> list[Directory]:
    """The directories of the assets that the step reads and writes, and MLflow's where it is a SQLite file.

    Raises:
        SettingsError: MLflow's SQLite file has no directory of its own.
    """
    writable = {config.data_dir / FOLDERS[asset]: may_write for asset, may_write in _assets(step)}
    found = [Directory(path, may_write) for path, may_write in writable.items()]
    database = sqlite_path(tracking)
    if database is not None and uses_tracking(step):
        found.append(Directory(_own_directory(database, config.data_dir), writable=True, by_day=False))
    return found


def _own_directory(database: Path, data_dir: Path) -> Path:
    """The directory of MLflow's SQLite file, which containers see whole."""
    folder = database.parent
    if folder in {Path("/"), Path.home()} or data_dir.is_relative_to(folder):
        raise SettingsError(
            f"Containers would see all of {folder}, because MLflow's file {database} lies there. Move it into a"
            f" directory of its own, such as {folder / 'mlflow' / database.name}, and set MLFLOW_TRACKING_URI."
        )
    return folder


def uses_tracking(step: str) -> bool:
    """Whether the step talks to the tracking server."""
    return step == PROMOTE or STEPS[step].uses_tracking


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


def network(step: str, config: DockerConfig, tracking: TrackingConfig) -> str:
    """The network of the step's container: none unless it must reach a server.

    A server on this host's loopback interface is reached through the host's own network: on any other it would be
    somebody else's loopback.
    """
    if not uses_tracking(step) or sqlite_path(tracking) is not None:
        return "none"
    if config.network:
        return config.network
    return "host" if urlsplit(tracking.uri).hostname in _LOOPBACK else "bridge"


def environment(step: str, config: DockerConfig, tracking: TrackingConfig) -> dict[str, str]:
    """The variables of the step's container, which everybody may read who may use the engine: nothing secret."""
    limit = {}
    if config.cpus:
        cores = str(math.ceil(config.cpus))
        limit = {"OMP_NUM_THREADS": cores, "MLOPS_WORKERS": cores}
    link = {"MLOPS_MLFLOW_UI_URL": tracking.ui_base} if uses_tracking(step) and tracking.ui_base else {}
    return {**limit, **link, UMASK: f"{_umask():03o}", **config.environment}


def secrets(step: str, tracking: TrackingConfig) -> dict[str, str]:
    """The variables that only the step's process gets (by its standard input): where MLflow is, and its passwords."""
    if not uses_tracking(step):
        return {}
    given = {name: value for name, value in os.environ.items() if name.startswith(_FOR_TRACKING)}
    return {**({} if sqlite_path(tracking) else given), "MLFLOW_TRACKING_URI": tracking.uri}


def _umask() -> int:
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
    """How all our containers are locked in."""
    return {
        "user": user(config),
        "read_only": True,
        "tmpfs": {"/tmp": "nosuid,nodev"},  # noqa: S108  # the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "group_add": [str(group) for group in os.getgroups() if group] if os.getuid() and not config.user else None,
        "log_config": {"type": "json-file", "config": {"max-size": "16m"}},
    }


def make_accessible(directories: Sequence[Directory], days: Iterable[str], user: str) -> None:
    """Make what is missing, as the engine would not or would make it root's; let the containers' user write there.

    Only root has anything to hand over (who is not root runs the containers as himself), and only what is root's is
    handed over: never what others delivered, nor what a link leads to.
    """
    for one in directories:
        one.path.mkdir(parents=True, exist_ok=True)
    if os.getuid():
        return
    uid, _, gid = user.partition(":")
    owner = int(uid), int(gid or uid)
    days = list(days)
    for one in directories:
        if one.writable and owner[0]:
            hand_over(one.path, owner, only=days if one.by_day else None)


def hand_over(directory: Path, owner: tuple[int, int], *, only: Sequence[str] | None = None) -> None:
    """Change the owner of what is root's in a directory, and of the directory itself.

    Args:
        directory: Where; a link is not followed.
        owner: uid and gid.
        only: Only the folders of these names, and no file: publishing a file takes its folder. None: all there is.
    """
    for _, folders, files, descriptor in os.fwalk(str(directory), follow_symlinks=False):
        names = [".", *folders, *files]
        if only is not None:
            names = [".", *(name for name in folders if name in only)]
            folders.clear()
        for name in names:
            if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid == 0:
                os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)


def _assets(step: str) -> list[tuple[str, bool]]:
    """The assets that a step reads (False) and writes (True); what it does both with comes last."""
    if step == PROMOTE:
        return [(asset, False) for asset in PROMOTE_READS]
    declared = STEPS[step]
    return [*((file.asset, False) for file in declared.inputs), *((file.asset, True) for file in declared.outputs)]
