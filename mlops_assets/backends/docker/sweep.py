"""Removing what was left on the engine by runs that are over: by label and run status, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mlops_assets.backends.docker.labels import ASSET, PARTITIONS, RUN_ID

if TYPE_CHECKING:
    from mlops_assets.backends.docker.engine import Engine


def sweep(engine: Engine, is_over: Callable[[str], bool], stop_seconds: int) -> list[str]:
    """Stop and remove the containers whose Dagster run is over.

    Args:
        engine: Where to look.
        is_over: Whether a run, given its id, is over; False for a run that is not known: it is somebody else's.
        stop_seconds: How long a container may take to end.

    Returns:
        A line for each container that was removed.

    Raises:
        EngineError: The engine cannot be reached, or refused.
    """
    import docker.errors

    removed = []
    with engine.errors("list containers"):
        api = engine.client.api
        for found in api.containers(all=True, filters={"label": RUN_ID}):
            labels = found["Labels"]
            if not is_over(labels[RUN_ID]):
                continue
            with suppress(docker.errors.NotFound):  # it has just gone by itself
                api.stop(found["Id"], timeout=stop_seconds)
                with suppress(docker.errors.NotFound):  # as above: the engine removes it when it stops
                    _remove(engine, found["Id"])
                what = " ".join(filter(None, (labels.get(ASSET), labels.get(PARTITIONS))))
                removed.append(f"{found['Names'][0].lstrip('/')} ({what}, run {labels[RUN_ID]}, {found['State']})")
    return removed


def _remove(engine: Engine, container: str) -> None:
    import docker.errors

    try:
        engine.client.api.remove_container(container, force=True)
    except docker.errors.APIError as error:
        if error.status_code != 409:  # noqa: PLR2004  # "removal is already in progress"
            raise
        engine.client.api.wait(container, condition="removed")
