"""The configuration of the Docker backend. Plain data: nothing is connected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.declared import pairs, setting
from mlops_assets.steps.catalog import STEPS

IMAGE_PREFIX = "mlops-assets"
"""What `make images` puts before the names of our images."""


def _by_step(value: Mapping[str, str]) -> Mapping[str, str]:
    if unknown := sorted(set(value) - set(STEPS)):
        raise ValueError(f"unknown steps {', '.join(map(repr, unknown))}: the steps are {', '.join(STEPS)}")
    return value


def _amount_of_memory(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[1-9]\d*[bkmgBKMG]?", value):
        raise ValueError("expected a number and a unit, such as 512m or 2g")
    return value


def _size_of_tmpfs(value: str) -> str:
    if not re.fullmatch(r"([1-9]\d?|100)%", value):
        _amount_of_memory(value)
    return value


def _numeric_user(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\d+(:\d+)?", value):
        raise ValueError("expected numbers, such as 1000:1000 (see: id)")
    return value


def _image_prefix(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([\w.:/-]*[a-z0-9])?", value):
        raise ValueError(
            "expected what stands before /data and /model in the images' names, such as localhost:5000/team"
        )
    return value


def _absolute(value: Path | None) -> Path | None:
    if value is not None and not value.is_absolute():
        raise ValueError("expected an absolute path on the host of the Docker engine")
    return value


@dataclass(frozen=True)
class DockerConfig:
    """How containers are made.

    Attributes:
        data_dir: The data root as this process sees it, absolute.
        workers: Processes in a container that share its partitions; None: a core each, four at most.
    """

    data_dir: Path
    images: Mapping[str, str] = setting(
        {}, "Images of single steps instead of our own: `train=team/train:7,predict=…`.", parse=pairs, check=_by_step
    )
    image_prefix: str = setting(
        IMAGE_PREFIX,
        "Registry and folder of our own images, as in `make images IMAGE_PREFIX=registry.example.com/team`.",
        check=_image_prefix,
    )
    networks: Mapping[str, str] = setting(
        {},
        "Networks of single steps, such as `generate=bridge`; all others have none.",
        name="docker_networks",
        parse=pairs,
        check=_by_step,
    )
    host_data_dir: Path | None = setting(
        None,
        "The data root as the engine's host sees it. Default: the same path as here.",
        also="HOST_DATA_DIR",
        check=_absolute,
    )
    memory: str | None = setting(
        None, "Memory limit of a container, such as `2g`.", name="docker_memory", check=_amount_of_memory
    )
    cpus: float | None = setting(
        None, "Limit of a container in cores, such as `1.5`.", name="docker_cpus", gt=0, le=1_024
    )
    pids: int = setting(512, "Limit of processes and threads in a container.", name="docker_pids", ge=64, le=1_000_000)
    tmpfs: str = setting(
        "25%",
        "Size of a container's `/tmp`, which is memory: a share of the host's, or an amount such as `1g`.",
        name="docker_tmpfs",
        check=_size_of_tmpfs,
    )
    workers: int | None = None
    user: str | None = setting(
        None,
        "`uid:gid` of the containers. Default: yours; for root the data root's owner or 10001.",
        name="docker_user",
        check=_numeric_user,
    )
    stop_seconds: int = setting(
        10, "Seconds that a container may take to end when it is stopped.", name="docker_stop_seconds", ge=0, le=600
    )

    def on_host(self, path: Path) -> Path:
        """Where the engine's host has a path of ours: what lies under the data root may have moved with it."""
        if self.host_data_dir is not None and path.is_relative_to(self.data_dir):
            return self.host_data_dir / path.relative_to(self.data_dir)
        return path
