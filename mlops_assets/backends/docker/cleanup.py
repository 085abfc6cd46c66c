"""Removes what runs that are over have left on the engine: by label and run status, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mlops_assets.backends.docker.engine import EngineError
from mlops_assets.backends.docker.labels import PARTITIONS, PROCESS, RUN_ID, STEP
from mlops_assets.backends.process_id import is_gone

if TYPE_CHECKING:
    from mlops_assets.backends.docker.engine import Engine


def cleanup(engine: Engine, is_over: Callable[[str], bool], stop_seconds: int) -> list[str]:
    """Stop and remove the containers whose Dagster run is over, or whose process on this host is gone.

    Args:
        engine: Where to look.
        is_over: Whether a run, given its id, is over; False for an unknown run: it belongs to another instance.
        stop_seconds: How long a container may take to end.

    Returns:
        A line for each container that was removed, or could not be.

    Raises:
        EngineError: The engine cannot be reached.
    """
    removed = []
    with engine.errors("list containers"):
        found = engine.client.api.containers(all=True, filters={"label": RUN_ID})
    for one in found:
        labels = one["Labels"]
        if not (is_over(labels[RUN_ID]) or is_gone(labels.get(PROCESS, ""))):
            continue
        what = " ".join(filter(None, (labels.get(STEP), labels.get(PARTITIONS))))
        line = f"{one['Names'][0].lstrip('/')} ({what}, run {labels[RUN_ID]}, {one['State']})"
        try:
            with engine.errors(f"remove container {line}"):
                _remove(engine, one["Id"], stop_seconds)
        except EngineError as error:  # the others must not stay because of it
            line = str(error)
        removed.append(line)
    return removed


def _remove(engine: Engine, container: str, stop_seconds: int) -> None:
    import docker.errors

    api = engine.client.api
    with suppress(docker.errors.NotFound):  # it ended by itself
        api.stop(container, timeout=stop_seconds)
        try:
            api.remove_container(container, force=True)
        except docker.errors.APIError as error:
            if error.status_code != 409:  # noqa: PLR2004  # "removal is already in progress"
                raise
            api.wait(container, condition="removed")
