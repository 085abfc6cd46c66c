"""Checks on what containers answer: any image may be named in the settings, so nothing is taken as given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MlopsAssetsError
from mlops_assets.runtime.request import PartitionResult
from mlops_assets.steps.catalog import STEPS

if TYPE_CHECKING:
    from mlops_assets.backends.docker.container import Ending
    from mlops_assets.backends.docker.images import Image
    from mlops_assets.store.local import LocalStore


class StepFailedError(MlopsAssetsError):
    """A step's container did not do its work."""


class StepEndedError(StepFailedError):
    """A step's container was stopped or killed from outside: by a person, an engine that was restarted."""

    can_retry = True


def partition_result(content: Any, still_open: Collection[str], image: Image) -> PartitionResult:
    """A partition's result from a message.

    Raises:
        StepFailedError: It is none of a partition that was asked for.
    """
    try:
        result = PartitionResult(**content)
        is_one = (
            result.partition in still_open
            and isinstance(result.metadata, dict)
            and isinstance(result.error, str | None)
            and isinstance(result.recipe, str)
            and isinstance(result.files, dict)
        )
    except TypeError:
        is_one = False
    if not is_one:
        raise StepFailedError(
            f"The image {image.name} reported {content!r:.200}, which is no result of a partition that it was asked"
            " for. Build the image from ours of this version."
        )
    return result


def checked(store: LocalStore, step: str, result: PartitionResult) -> PartitionResult:
    """A result whose partition is published here as it says, else one with an error.

    Raises:
        StepFailedError: Nothing is published here: the engine knows another directory by this name.
    """
    if result.error is not None:
        return result
    asset = STEPS[step].asset
    try:
        manifest = store.manifest(asset, result.partition)
    except DataError as error:
        return PartitionResult(result.partition, error=str(error))
    if manifest is None:
        raise StepFailedError(f"The container published {asset} of {result.partition}, but {_elsewhere(store)}")
    if {info.name: info.sha256 for info in manifest.files} == result.files and manifest.recipe == result.recipe:
        return result
    return PartitionResult(
        result.partition,
        error=f"{asset} of {result.partition} is not what the container published: either another run published it"
        f" meanwhile (then run it again), or {_elsewhere(store)}",
    )


def _elsewhere(store: LocalStore) -> str:
    return (
        f"not under {store.root} as it is seen here: the Docker engine knows another directory by that path. Set"
        " HOST_DATA_DIR to the path of the data root on the engine's host (see mlops-assets doctor)."
    )


def raise_reported(failure: Mapping[str, Any] | None, step: str, image: Image) -> None:
    """Raise the error that a step reported, if it did; of the same class, so that all backends fail alike."""
    if failure is None:
        return
    message, name = str(failure.get("message")), failure.get("type")
    kinds = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in _with_subclasses(MlopsAssetsError)}
    if name is None:
        raise StepFailedError(
            f"Step {step} (image {image.name}) failed: {message}\nThe log of the run has the traceback."
        )
    raise kinds.get(str(name), MlopsAssetsError)(message)


def ended_badly(step: str, image: Image, ending: Ending, memory: str | None) -> StepFailedError:
    """The error for a container that ended without having done its work."""
    how = str(ending)
    if ending.was_out_of_memory:
        limit = f"the limit is {memory}" if memory else "there is no limit but the host's"
        how = f"killed: out of memory ({limit}, see MLOPS_DOCKER_MEMORY), {how}"
    kind = StepEndedError if ending.was_from_outside else StepFailedError
    return kind(f"The container of step {step} (image {image.name}) ended: {how}\nWhat was published stays.")


def unanswered(step: str, image: Image, partitions: Collection[str]) -> StepFailedError:
    """The error for a container that ended well without an answer for every partition."""
    return StepFailedError(
        f"The container of step {step} (image {image.name}) ended without an answer for {len(partitions)} partition(s),"
        f" first {min(partitions)}. It must keep the step contract (docs/step-contract.md), or start as our images do:"
        " python -m mlops_assets.runtime"
    )


def _with_subclasses(kind: type[MlopsAssetsError]) -> Iterator[type[MlopsAssetsError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)
