"""Probe containers: does the engine see what we see?"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.access import Directory
from mlops_assets.backends.docker.labels import labels
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.steps.catalog import PROMOTE

if TYPE_CHECKING:
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.backends.docker.engine import Engine
    from mlops_assets.tracking.config import TrackingConfig

_SEEN = (
    "import pathlib, sys; asked = pathlib.Path(sys.argv[1]); asked.with_suffix('.seen').write_bytes(asked.read_bytes())"
)
_PING = """
import sys
from mlops_assets.assembly import build_tracking
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.settings import Settings
try:
    build_tracking(Settings()).ping()
except MlopsAssetsError as error:
    sys.exit(str(error))
"""


class ProbeError(MlopsAssetsError):
    """A probe container did not see what it should."""


def check_data_root(engine: Engine, config: DockerConfig, image: str) -> None:
    """Prove that a container finds what is written here, and that what it writes is found here.

    Raises:
        ProbeError: They see different directories; the message says what to set.
        EngineError: The engine refused.
    """
    root = Directory(config.data_dir, writable=True)
    access.make_accessible([root], [], access.user(config))
    asked = config.data_dir / f".probe-{uuid.uuid4().hex}.asked"
    seen = asked.with_suffix(".seen")
    where = f"{config.on_host(config.data_dir)}" + ("" if config.host_data_dir else " (HOST_DATA_DIR is not set)")
    remedy = (
        f"Set HOST_DATA_DIR to the path that the data root {config.data_dir} has on the host of the engine at"
        f" {engine.address}."
    )
    try:
        asked.write_text("seen", encoding="utf-8")
        try:
            _run(engine, config, image, ["-c", _SEEN, str(asked)], directories=[root], network="none")
        except MlopsAssetsError as error:
            raise ProbeError(f"A container does not see the data root at {where}: {error} {remedy}") from None
        if not seen.is_file():
            raise ProbeError(f"What a container writes at {where} is not seen here. {remedy}")
    finally:
        asked.unlink(missing_ok=True)
        seen.unlink(missing_ok=True)


def check_tracking(engine: Engine, config: DockerConfig, tracking: TrackingConfig) -> None:
    """Prove that a container of the training steps reaches MLflow.

    Raises:
        ProbeError: It does not; the message is that of the container.
        EngineError: The engine refused.
    """
    directories = [one for one in access.directories(PROMOTE, config, tracking) if one.writable]
    access.make_accessible(directories, [], access.user(config))
    network = access.network(PROMOTE, config, tracking)
    try:
        _run(
            engine,
            config,
            config.images[PROMOTE],
            ["-c", _PING],
            directories=directories,
            network=network,
            environment=access.environment(PROMOTE, config, tracking),
        )
    except ProbeError as error:
        raise ProbeError(
            f"From a container in network {network!r}: {error} The address must be right from there, too: set"
            " MLOPS_DOCKER_NETWORK to the network that the server is in."
        ) from None


def _run(
    engine: Engine,
    config: DockerConfig,
    image: str,
    python: Sequence[str],
    *,
    directories: Sequence[Directory],
    network: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run Python in a container of an image, like a step; its standard error is the message of what goes wrong."""
    import docker.errors

    with engine.errors("run a probe container"):
        try:
            engine.client.containers.run(
                image,
                list(python),
                entrypoint=["python"],
                labels=labels("", "probe", []),
                environment=dict(environment or {}),
                mounts=access.mounts(directories, config),
                network_mode=network,
                remove=True,
                **access.hardening(config),
            )
        except docker.errors.ContainerError as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines() if error.stderr else []
            raise ProbeError(lines[-1] if lines else f"exit code {error.exit_status}") from None
