"""Every step in a container of its own, which handles all days of a run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.backends import piped
from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.engine import Engine
from mlops_assets.backends.docker.images import check_image
from mlops_assets.backends.docker.labels import labels
from mlops_assets.backends.docker.probe import check_data_root
from mlops_assets.backends.docker.sweep import sweep
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.steps.catalog import ASSETS, PROMOTE, UNPARTITIONED, step_of_asset
from mlops_assets.steps.runner import PartitionResult, RunInfo

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.backends.docker.client import StepClient
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.backends.docker.container import StepContainer
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.config import TrackingConfig


class StepFailedError(MlopsAssetsError):
    """A step's container did not do its work."""


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

    def __init__(self, config: DockerConfig, store: LocalStore, tracking: TrackingConfig, source: str) -> None:
        """Name the parts; nothing is connected yet."""
        self._config, self._store, self._tracking, self._source = config, store, tracking, source
        self._engine = Engine()
        self._sees_data_root = self._engine.is_local and config.host_data_dir is None
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
        days = tuple(sorted(set(partitions)))
        missing, is_well = set(days), True
        with closing(self._payloads(asset, days, run, context)) as payloads:
            for payload in payloads:
                if piped.RESULT in payload:
                    result = _result(payload[piped.RESULT], days, self._config.images[self._step(asset)])
                    missing.discard(result.partition)
                    is_well = is_well and not result.error
                    yield self._seen(asset, result)
        if not is_well:
            self._drop_next()  # Dagster will not ask for the next asset
        if missing:
            raise self._silent(asset)

    def promote(self, run: RunInfo, context: dg.AssetExecutionContext | None = None) -> Mapping[str, Any]:
        """See :meth:`mlops_assets.backends.base.Backend.promote`."""
        decision: dict[str, Any] = {}
        for payload in self._payloads(UNPARTITIONED, (), run, context):
            decision.update(payload.get(piped.PROMOTION, {}))
        if not decision:
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
        try:
            with ExitStack() as stack:
                container = self._launched(run.dagster_run_id, asset, days)
                stack.callback(container.remove)
                self._make_accessible(asset, days)
                for payload in self._client.stream(context, container, extras, lambda: self._launch_after(asset)):
                    failure = payload.get(piped.FAILURE, failure)
                    yield payload
        except BaseException as error:
            self._drop_next()
            if not isinstance(error, ContainerFailedError):
                raise
            step = self._step(asset)
            image = self._config.images[step]
            if failure is not None:
                raise _error(failure, step, image) from None
            raise StepFailedError(
                f"The container of step {step} (image {image}) ended with {error}\nWhat was published stays."
            ) from None

    def _launched(self, run_id: str, asset: str, days: tuple[str, ...]) -> StepContainer:
        """The container that was started ahead, if it is the right one; else a new one."""
        waiting, self._next = self._next, None
        if waiting is not None:
            if waiting[:-1] == (run_id, asset, days):
                return waiting.container
            waiting.container.remove(at_once=True)
        return self._launch(run_id, asset, days)

    def _launch_after(self, asset: str) -> None:
        if asset in self._plan[:-1]:
            self._launch_ahead(self._plan[self._plan.index(asset) + 1])

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
        check_image(self._engine, image)
        directories = self._make_accessible(asset, days)
        if not self._sees_data_root:
            check_data_root(self._engine, config, image)
            self._sees_data_root = True
        return self._client.launch(
            image,
            [step, "--pipes", str(len(days))],
            access.environment(step, config, self._tracking),
            {
                **access.hardening(config),
                "labels": labels(run_id, asset, days),
                "mounts": access.mounts(directories, config),
                "network_mode": access.network(step, config, self._tracking),
                "mem_limit": config.memory,
                "memswap_limit": config.memory,
                "nano_cpus": int(config.cpus * 1e9) if config.cpus else None,
            },
        )

    def _make_accessible(self, asset: str, days: Sequence[str]) -> list[access.Directory]:
        directories = access.directories(self._step(asset), self._config, self._tracking)
        access.make_accessible(directories, days, access.user(self._config))
        return directories

    @cached_property
    def _client(self) -> StepClient:
        from mlops_assets.backends.docker.client import StepClient

        return StepClient(self._engine, self._config.stop_seconds, self._config.memory)

    def _step(self, asset: str) -> str:
        return PROMOTE if asset == UNPARTITIONED else step_of_asset(asset, self._source).name

    def _silent(self, asset: str) -> StepFailedError:
        step = self._step(asset)
        return StepFailedError(
            f"The container of step {step} (image {self._config.images[step]}) ended without saying what it did. Its"
            " entry point must be that of our images: python -m mlops_assets.steps"
        )

    def _seen(self, asset: str, result: PartitionResult) -> PartitionResult:
        """A day's result, after a look whether it is here: the engine may know another directory by this name.

        Raises:
            StepFailedError: It was published somewhere else.
        """
        if result.error is None:
            manifest = self._store.manifest(asset, result.partition)
            if manifest is None or manifest.digest != result.metadata.get("sha256"):
                raise StepFailedError(
                    f"The container published {asset} of {result.partition}, but not under {self._store.root} as it is"
                    f" seen here: the Docker engine knows another directory by that path. Set HOST_DATA_DIR to the"
                    " path that the data root has on the engine's host."
                )
        return result


def _error(failure: Mapping[str, Any], step: str, image: str) -> Exception:
    """The error that the step raised, if it is one of ours; the same class, so that all backends fail alike."""
    message, name = str(failure.get("message")), failure.get("type")
    if name is None:
        return StepFailedError(f"Step {step} (image {image}) failed: {message}\nThe log of the run has the traceback.")
    kinds = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in _with_subclasses(MlopsAssetsError)}
    return kinds.get(name, MlopsAssetsError)(message)


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
    if result is None or result.partition not in days:
        raise StepFailedError(
            f"The image {image} reported {content!r:.200}, which is no result of a day that it was asked for. Make the"
            " image from ours of this version."
        )
    return result
