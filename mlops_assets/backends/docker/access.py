"""What a step's container may reach: the directories that the step declares, the tracking server, and no more."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops_assets.backends.docker.config import DockerConfig
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
    """

    path: Path
    writable: bool


def directories(step: str, config: DockerConfig, tracking: TrackingConfig) -> list[Directory]:
    """The directories of the assets that the step reads and writes, and MLflow's where it is a SQLite file."""
    found = {config.data_dir / FOLDERS[asset]: writable for asset, writable in _assets(step)}
    database = sqlite_path(tracking)
    if database is not None and uses_tracking(step):
        found[database.parent] = True
    return [Directory(path, writable) for path, writable in found.items()]


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
    """The variables of the step's process: the settings, and MLflow's own where it talks to MLflow."""
    limit = {"OMP_NUM_THREADS": str(max(1, int(config.cpus)))} if config.cpus else {}
    given = {}
    if uses_tracking(step):
        given = {name: value for name, value in os.environ.items() if name.startswith(_FOR_TRACKING)}
        given["MLFLOW_TRACKING_URI"] = tracking.uri
        given |= {"MLOPS_MLFLOW_UI_URL": tracking.ui_base} if tracking.ui_base else {}
    return {**limit, **given, **config.environment}


def user(config: DockerConfig) -> str:
    """``uid:gid`` of the containers: the caller's, so that the files are the caller's; never root unless it is set."""
    if config.user:
        return config.user
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else IMAGE_USER


def hardening(config: DockerConfig) -> dict[str, Any]:
    """How all our containers are locked in."""
    return {
        "user": user(config),
        "read_only": True,
        "tmpfs": {"/tmp": "nosuid,nodev"},  # noqa: S108  # the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


def make_accessible(directories: Sequence[Directory], days: Iterable[str], user: str) -> None:
    """Make what is missing, as the engine would not or would make it root's; let the containers' user write there.

    Only root has anything to hand over: who is not root runs the containers as himself.
    """
    for one in directories:
        one.path.mkdir(parents=True, exist_ok=True)
    if os.getuid() != 0 or not user.replace(":", "").isdigit():
        return
    owner = tuple(int(number) for number in (user if ":" in user else f"{user}:{user}").split(":"))
    days = list(days)
    for one in directories:
        if one.writable:
            _hand_over(one.path, days, owner)


def _hand_over(directory: Path, days: Sequence[str], owner: tuple[int, ...]) -> None:
    """The directory and the days that will be written; all that is in a directory without days."""
    partitioned = directory.name in FOLDERS.values()
    roots = [directory / day for day in days if (directory / day).exists()] if partitioned else [directory]
    for path in [directory, *(path for root in roots for path in (root, *root.rglob("*")))]:
        if path.lstat().st_uid != owner[0]:
            os.chown(path, owner[0], owner[1], follow_symlinks=False)


def _assets(step: str) -> list[tuple[str, bool]]:
    """The assets that a step reads (False) and writes (True); what it does both with comes last."""
    if step == PROMOTE:
        return [(asset, False) for asset in PROMOTE_READS]
    declared = STEPS[step]
    return [*((file.asset, False) for file in declared.inputs), *((file.asset, True) for file in declared.outputs)]
