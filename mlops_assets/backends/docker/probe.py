"""Probe containers: does the engine see what we see?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.access import Directory
from mlops_assets.backends.docker.container import StepContainer
from mlops_assets.backends.docker.engine import Engine, EngineError
from mlops_assets.backends.docker.images import check_image
from mlops_assets.backends.docker.labels import labels
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.steps.catalog import PROMOTE

if TYPE_CHECKING:
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.tracking.config import TrackingConfig

_SEEN = (
    "import pathlib, sys; asked = pathlib.Path(sys.argv[1]); asked.with_suffix('.seen').write_bytes(asked.read_bytes())"
)
_PING = """
import json, os, sys
os.environ.update(json.loads(sys.stdin.readline()))
from mlops_assets.wiring.assembly import build_tracking
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
    """Prove that a container finds in the data root what is written here, and the other way round.

    Raises:
        ProbeError: They see different directories; the message says what to set.
        EngineError: The engine refused.
        ImageError: The image is missing or stale.
    """
    other = f", which is not {config.host_data_dir}" if config.host_data_dir else ""
    remedy = f"Set HOST_DATA_DIR to the path that it has on the host of the engine at {engine.address}{other}."
    _check_seen(engine, config, image, config.data_dir, "The data root", remedy)


def check_mlflow_directory(engine: Engine, config: DockerConfig, image: str, directory: Path) -> None:
    """The same for the directory of MLflow's SQLite file; see :func:`check_data_root`."""
    remedy = "Set MLOPS_HOME to a folder below the data root, or MLFLOW_TRACKING_URI to a server."
    _check_seen(engine, config, image, directory, "MLflow's directory", remedy)


def _check_seen(engine: Engine, config: DockerConfig, image: str, directory: Path, name: str, remedy: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".probe-") as own:
        folder = Directory(Path(own), writable=True, by_day=False)
        asked = folder.path / "asked"
        asked.write_text("seen", encoding="utf-8")
        access.make_accessible([folder], [], access.user(config))
        problem = None
        try:
            _run(engine, config, image, ["-c", _SEEN, str(asked)], directories=[folder], network="none")
        except (ProbeError, EngineError) as error:
            problem = f"a container does not see it: {error}".rstrip(".")
        else:
            if not asked.with_suffix(".seen").is_file():
                problem = "what a container writes there is not seen here"
    if problem and "Permission denied" in problem:
        remedy = f"Let user {access.user(config)} write there, or set MLOPS_DOCKER_USER."
    if problem:
        raise ProbeError(f"{name} is {directory} here, but {problem}. {remedy}")


def check_tracking(engine: Engine, config: DockerConfig, tracking: TrackingConfig) -> None:
    """Prove that a container of the training steps reaches MLflow.

    Raises:
        ProbeError: It does not; the message is that of the container.
        EngineError: The engine refused.
        ImageError: The image is missing or stale.
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
            secrets=access.secrets(PROMOTE, tracking),
        )
    except ProbeError as error:
        remedy = (
            ""
            if network == "none"
            else " The address must be right from there, too: set MLOPS_DOCKER_NETWORK to the network of the server."
        )
        raise ProbeError(f"From a container in network {network!r}: {error}{remedy}") from None


def _run(
    engine: Engine,
    config: DockerConfig,
    image: str,
    python: Sequence[str],
    *,
    directories: Sequence[Directory],
    network: str,
    environment: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> None:
    """Run Python in a container of an image, like a step; its last line of standard error is what goes wrong."""
    check_image(engine, image)  # and nothing is pulled
    with engine.errors("make a probe container"):
        made = engine.client.containers.create(
            image,
            list(python),
            entrypoint=["python"],
            labels=labels("", "probe", []),
            environment=dict(environment or {}),
            mounts=access.mounts(directories, config),
            network_mode=network,
            detach=False,
            stdin_open=True,
            auto_remove=True,
            **access.hardening(config),
        )
    container = StepContainer(engine, made, config.stop_seconds, echo=False)
    try:
        container.start()
        container.say(json.dumps(dict(secrets or {})))
        for _ in container.lines():
            pass
        if code := container.exit_code():
            raise ProbeError(container.last_line or f"exit code {code}")
    finally:
        container.remove(at_once=True)
