"""Probe containers: does the engine see the same data root, and may a container's user write there?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.access import Directory
from mlops_assets.backends.docker.container import StepContainer
from mlops_assets.backends.docker.engine import Engine, EngineError
from mlops_assets.backends.docker.images import check_image, default_images
from mlops_assets.backends.docker.labels import labels
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.steps.catalog import ASSETS, steps_of
from mlops_assets.store.layout import FOLDERS, is_partition

if TYPE_CHECKING:
    from mlops_assets.backends.docker.config import DockerConfig

_SEEN = (
    "import pathlib, sys; asked = pathlib.Path(sys.argv[1]); asked.with_suffix('.seen').write_bytes(asked.read_bytes())"
)
_WRITABLE = "import os, sys; print(*(path for path in sys.argv[1:] if not os.access(path, os.W_OK)), sep='\\n')"


class ProbeError(MlopsAssetsError):
    """A probe container did not see what it should."""


def check_data_root(engine: Engine, config: DockerConfig) -> None:
    """Prove that a container finds in the data root what is written here, and the other way round.

    Raises:
        ProbeError: They see different directories; the message says what to set.
        EngineError: The engine refused.
        ImageError: The image is missing or stale.
    """
    config.data_dir.mkdir(parents=True, exist_ok=True)
    problem, user = "", access.user(config)
    with tempfile.TemporaryDirectory(dir=config.data_dir, prefix=".probe-") as own:
        folder = Directory(Path(own), writable=True)
        asked = folder.path / "asked"
        asked.write_text("seen", encoding="utf-8")
        access.make_accessible([folder], (), user)
        try:
            _run(engine, config, ["-c", _SEEN, str(asked)], [folder])
        except (ProbeError, EngineError) as error:
            problem = f"a container does not see it: {error}".rstrip(".")
        else:
            if not asked.with_suffix(".seen").is_file():
                problem = "what a container writes there is not seen here"
    if problem:
        other = f", which is not {config.host_data_dir}" if config.host_data_dir else ""
        remedy = (
            _let_write(user)
            if "Permission denied" in problem
            else f"Set HOST_DATA_DIR to the path that it has on the host of the engine at {engine.address}{other}."
        )
        raise ProbeError(f"The data root is {config.data_dir} here, but {problem}. {remedy}")


def check_writable(engine: Engine, config: DockerConfig, source: str) -> None:
    """Prove that containers can write to the folder, and to the newest partition, of each asset.

    Args:
        engine: Where containers run.
        config: How they are made.
        source: Of raw data: delivered days belong to those who deliver them.

    Raises:
        ProbeError: They cannot; the message says where.
    """
    steps = [step.name for asset in ASSETS for step in steps_of(asset, source)]
    judged = config.data_dir / FOLDERS["verdict"]
    last = sorted(one.name for one in judged.iterdir() if is_partition(one.name))[-1:] if judged.is_dir() else []
    seen = [one for step in steps for one in access.directories(step, config.data_dir, last)]
    folders = {one.path: one for one in seen if one.writable}
    newest = [day for folder in folders if folder.is_dir() for day in sorted(folder.iterdir())[-1:]]
    days = [day for day in newest if is_partition(day.name) and day.is_dir()]
    access.make_accessible(list(folders.values()), [day.name for day in days], access.user(config))
    paths = [str(path) for path in (*folders, *days)]
    if refused := _run(engine, config, ["-c", _WRITABLE, *paths], list(folders.values())):
        raise ProbeError(f"Containers cannot write to {', '.join(refused)}. {_let_write(access.user(config))}")


def _let_write(user: str) -> str:
    return f"Let user {user} write there, or set MLOPS_DOCKER_USER."


def _run(engine: Engine, config: DockerConfig, python: Sequence[str], directories: Sequence[Directory]) -> list[str]:
    """Run Python in a container like a step's; gives its lines.

    Raises:
        ProbeError: It failed; the message is its last line of standard error.
    """
    image = check_image(engine, default_images("", config.image_prefix)["process"])  # and nothing is pulled
    options = {
        **access.hardening(config),
        "entrypoint": ["python"],
        "labels": labels("", "probe", []),
        "mounts": access.mounts(directories, config),
        "network_mode": "none",
    }
    container = StepContainer(engine, image.id, python, options, config.stop_seconds, echo=False)
    try:
        lines = [line for line in container.lines() if line]
        ending = container.ending()
    finally:
        container.remove(at_once=True)
    if ending.code:
        raise ProbeError(ending.last_lines[-1] if ending.last_lines else f"exit code {ending.code}")
    return lines
