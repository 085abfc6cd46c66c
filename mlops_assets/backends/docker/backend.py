"""Every step in a container of its own, which handles all days of a run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.engine import Engine
from mlops_assets.backends.docker.images import check_image
from mlops_assets.backends.docker.labels import labels
from mlops_assets.backends.docker.probe import check_data_root, check_mlflow_directory
from mlops_assets.backends.docker.sweep import sweep
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime import pipes as piped
from mlops_assets.runtime.runner import PartitionResult, RunInfo
from mlops_assets.steps.catalog import ASSETS, PROMOTE, UNPARTITIONED, step_of_asset

if TYPE_CHECKING:
    from pathlib import Path

    import dagster as dg

    from mlops_assets.backends.docker.client import StepClient
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.backends.docker.container import StepContainer
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.config import TrackingConfig


class StepFailedError(MlopsAssetsError):
    """A step's container did not do its work."""


class StepEndedError(StepFailedError):
    """A step's container was stopped or killed from outside: by a person, an engine that was restarted."""

    can_retry = True


class _Launched(NamedTuple):
    """A container that waits for its turn, and for what it was started."""

    run_id: str
    asset: str
    days: tuple[str, ...]
    container: StepContainer


class DockerBackend:
    """Needs a Docker engine that sees the data root, and the images.

    While a step is at work the container of the next one starts and imports its libraries.
    """

    runs_elsewhere = True

    def __init__(self, config: DockerConfig, store: LocalStore, tracking: TrackingConfig, params: Parameters) -> None:
        """Name the parts; nothing is connected yet."""
        self._config, self.store, self._tracking, self.params = config, store, tracking, params
        self._engine = Engine()
        self._proved: set[Path] = set()
        self._run_id = ""
        self._plan: Sequence[str] = ()
        self._days: tuple[str, ...] = ()
        self._next: _Launched | None = None

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:
        """See :meth:`mlops_assets.backends.base.Backend.prepare`: the container of the first step starts."""
        if not run_id or run_id == self._run_id:
            return
        self._run_id, self._days = run_id, tuple(sorted(set(partitions)))
        self._plan = [asset for asset in ASSETS if asset in assets]
        self._launch_ahead(self._plan[0])

    def materialize(
        self,
        asset: str,
        partitions: Sequence[str],
        run: RunInfo,
        context: dg.AssetExecutionContext | None = None,
    ) -> Generator[PartitionResult]:
        """See :meth:`mlops_assets.backends.base.Backend.materialize`."""
        self._days = days = tuple(sorted(set(partitions)))
        missing, is_well = set(days), True
        with closing(self._payloads(asset, days, run, context)) as payloads:
            for payload in payloads:
                if piped.RESULT in payload:
                    result = _result(payload[piped.RESULT], days, self._config.images[self._step(asset)])
                    missing.discard(result.partition)
                    is_well = is_well and not result.error
                    yield self._seen(asset, result)
        if missing or not is_well:
            self._drop_next()  # what comes next is for fewer days, or will not be asked for
        if missing:
            raise self._silent(asset)

    def promote(self, run: RunInfo, context: dg.AssetExecutionContext | None = None) -> Mapping[str, Any]:
        """See :meth:`mlops_assets.backends.base.Backend.promote`."""
        decision: dict[str, Any] = {}
        for payload in self._payloads(UNPARTITIONED, (), run, context):
            decision.update(payload.get(piped.PROMOTION, {}))
        if not decision:
            self._drop_next()
            raise self._silent(UNPARTITIONED)
        return decision

    def sweep(self, is_over: Callable[[str], bool]) -> list[str]:
        """See :meth:`mlops_assets.backends.base.Backend.sweep`."""
        return sweep(self._engine, is_over, self._config.stop_seconds)

    def close(self) -> None:
        """See :meth:`mlops_assets.backends.base.Backend.close`; containers end with their steps."""
        self._drop_next()
        self._engine.close()

    def _payloads(
        self, asset: str, days: tuple[str, ...], run: RunInfo, context: dg.AssetExecutionContext | None
    ) -> Generator[Any]:
        """What a step's container says, until its end; an error that it tells of is raised here."""
        if context is None:
            raise TypeError("a step in a container needs Dagster's context: its log messages go there")
        from mlops_assets.backends.docker.client import ContainerFailedError

        extras = {piped.ASSET: asset, piped.PARTITIONS: list(days), piped.PARENT_RUN: run.parent_run_id}
        failure: Mapping[str, Any] | None = None
        step = self._step(asset)
        image = self._config.images[step]
        if run.dagster_run_id != self._run_id:
            self._plan = []  # it was another run's
        for one in {self._step(later) for later in (asset, *self._plan)}:
            check_image(self._engine, self._config.images[one])  # before hours of work, not after
        self._plan = [later for later in self._plan if later != asset]
        try:
            with ExitStack() as stack:
                container = self._launched(run.dagster_run_id, asset, days)
                stack.callback(container.remove)
                self._make_accessible(asset, days)
                for payload in self._client.stream(context, container, extras, self._launch_after):
                    failure = payload.get(piped.FAILURE, failure)
                    yield payload
            _raise_if(failure, step, image)
        except BaseException as error:
            self._drop_next()
            if not isinstance(error, ContainerFailedError):
                raise
            how, was_out_of_memory, was_ended = error.args
            if was_out_of_memory:
                limit = (
                    f"the limit is {self._config.memory}" if self._config.memory else "there is no limit but the host's"
                )
                how = f"killed: out of memory ({limit}, see MLOPS_DOCKER_MEMORY), {how}"
            else:
                _raise_if(failure, step, image)
            kind = StepEndedError if was_ended and not was_out_of_memory else StepFailedError
            raise kind(
                f"The container of step {step} (image {image}) ended: {how}\nWhat was published stays."
            ) from None

    def _launched(self, run_id: str, asset: str, days: tuple[str, ...]) -> StepContainer:
        """The container that was started ahead, if it is the right one; else a new one."""
        waiting, self._next = self._next, None
        if waiting is not None:
            if waiting[:-1] == (run_id, asset, days):
                return waiting.container
            waiting.container.remove(at_once=True)
        return self._launch(run_id, asset, days)

    def _launch_after(self) -> None:
        """While a step is at work: start what comes next. If Dagster takes another order, it is only dropped."""
        if self._plan:
            self._launch_ahead(self._plan[0])

    def _launch_ahead(self, asset: str) -> None:
        """Start the container of what will be asked for next; what goes wrong here is told when it is asked for."""
        self._drop_next()
        days = () if asset == UNPARTITIONED else self._days
        with suppress(Exception):
            self._next = _Launched(self._run_id, asset, days, self._launch(self._run_id, asset, days))

    def _drop_next(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.container.remove(at_once=True)

    def _launch(self, run_id: str, asset: str, days: tuple[str, ...]) -> StepContainer:
        config, step = self._config, self._step(asset)
        image = config.images[step]
        directories = self._make_accessible(asset, days)
        if not self._engine.is_local or config.host_data_dir is not None:
            self._prove(image, directories)
        return self._client.launch(
            image,
            [step, "--pipes", str(len(days))],
            access.environment(step, config, self._tracking),
            access.secrets(step, self._tracking),
            {
                **access.hardening(config),
                "name": f"mlops-assets-{asset}-{uuid.uuid4().hex[:12]}",
                "labels": labels(run_id, asset, days),
                "mounts": access.mounts(directories, config),
                "network_mode": access.network(step, config, self._tracking),
                "mem_limit": config.memory,
                "memswap_limit": config.memory,
                "nano_cpus": int(config.cpus * 1e9) if config.cpus else None,
            },
        )

    def _prove(self, image: str, directories: Sequence[access.Directory]) -> None:
        """Look once whether the engine sees the same directories: it, or this process, may be somewhere else."""
        if self._config.data_dir not in self._proved:
            check_data_root(self._engine, self._config, image)
            self._proved.add(self._config.data_dir)
        for one in directories:
            if not one.by_day and one.path not in self._proved:
                check_mlflow_directory(self._engine, self._config, image, one.path)
                self._proved.add(one.path)

    def _make_accessible(self, asset: str, days: Sequence[str]) -> list[access.Directory]:
        directories = access.directories(self._step(asset), self._config, self._tracking)
        access.make_accessible(directories, days, access.user(self._config))
        return directories

    @cached_property
    def _client(self) -> StepClient:
        from mlops_assets.backends.docker.client import StepClient

        return StepClient(self._engine, self._config.stop_seconds)

    def _step(self, asset: str) -> str:
        return PROMOTE if asset == UNPARTITIONED else step_of_asset(asset, self.params.source).name

    def _silent(self, asset: str) -> StepFailedError:
        step = self._step(asset)
        return StepFailedError(
            f"The container of step {step} (image {self._config.images[step]}) ended without saying what it did. Its"
            " entry point must be that of our images: python -m mlops_assets.runtime"
        )

    def _seen(self, asset: str, result: PartitionResult) -> PartitionResult:
        """A day's result, after a look whether it is here: the engine may know another directory by this name.

        Raises:
            StepFailedError: It was published somewhere else.
        """
        if result.error is None:
            manifest = self.store.manifest(asset, result.partition)
            if manifest is None or manifest.digest != result.metadata.get("sha256"):
                raise StepFailedError(
                    f"The container published {asset} of {result.partition}, but not under {self.store.root} as it is"
                    f" seen here: either another run published it anew meanwhile, or the Docker engine knows another"
                    " directory by that path. Then set HOST_DATA_DIR to the path that the data root has on the"
                    " engine's host (mlops-assets doctor tells)."
                )
        return result


def _raise_if(failure: Mapping[str, Any] | None, step: str, image: str) -> None:
    """Raise the error that the step told of, if it did; of the same class, so that all backends fail alike."""
    if failure is None:
        return
    message, name = str(failure.get("message")), failure.get("type")
    if name is None:
        raise StepFailedError(f"Step {step} (image {image}) failed: {message}\nThe log of the run has the traceback.")
    kinds = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in _with_subclasses(MlopsAssetsError)}
    raise kinds.get(name, MlopsAssetsError)(message)


def _with_subclasses(kind: type[MlopsAssetsError]) -> Iterator[type[MlopsAssetsError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


def _result(content: Any, days: Sequence[str], image: str) -> PartitionResult:
    """A day's result from a message, which an image that is not ours may have made up."""
    try:
        result = PartitionResult(**content)
    except TypeError:
        result = None
    if result is None or result.partition not in days or not isinstance(result.metadata, dict):
        raise StepFailedError(
            f"The image {image} reported {content!r:.200}, which is no result of a day that it was asked for. Make the"
            " image from ours of this version."
        )
    return result
