"""What the Docker backend is told. Plain data: nothing is connected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DockerConfig:
    """How and with what the containers are made.

    Attributes:
        images: Step -> image.
        data_dir: The data root as this process sees it, absolute.
        environment: The settings, for the steps' processes; nothing secret.
        host_data_dir: The data root as the engine's host sees it; None: the same path.
        network: Of the containers that need one; None: decided by where the tracking server is.
        memory: Limit of a container, as Docker writes it (``2g``); None: no limit.
        cpus: Limit of a container in cores; None: no limit.
        user: ``uid:gid`` that containers run as; None: the caller's.
        stop_seconds: How long a container may take to end when it is told to.
    """

    images: Mapping[str, str]
    data_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    host_data_dir: Path | None = None
    network: str | None = None
    memory: str | None = None
    cpus: float | None = None
    user: str | None = None
    stop_seconds: int = 10

    def on_host(self, path: Path) -> Path:
        """Where the engine's host has a path of ours: what lies under the data root may have moved with it."""
        if self.host_data_dir is not None and path.is_relative_to(self.data_dir):
            return self.host_data_dir / path.relative_to(self.data_dir)
        return path
