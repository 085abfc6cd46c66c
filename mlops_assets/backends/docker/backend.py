"""Every step in a container of its own, which handles all days of a run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlops_assets.backends import piped
from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.engine import Engine
from mlops_assets.backends.docker.images import check_image
from mlops_assets.backends.docker.labels import labels
from mlops_assets.backends.docker.probe import check_data_root
from mlops_assets.backends.docker.sweep import sweep
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.steps.catalog import PROMOTE, UNPARTITIONED, step_of_asset
from mlops_assets.steps.runner import PartitionResult, RunInfo

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.config import TrackingConfig


class StepFailedError(MlopsAssetsError):
    """A step's container did not do its work."""


class DockerBackend:
    """Needs a Docker engine that sees the data root, and the images."""

    runs_elsewhere = True

    def __init__(self, config: DockerConfig, store: LocalStore, tracking: TrackingConfig, source: str) -> None:
        """Name the parts; nothing is connected yet."""
        self._config, self._store, self._tracking, self._source = config, store, tracking, source
        self._engine = Engine()
        self._sees_data_root = self._engine.is_local and config.host_data_dir is None

    def prepare(self, assets: Sequence[str], partitions: Sequence[str]) -> None:
        """See :meth:`mlops_assets.backends.base.Backend.prepare`; there is nothing to prepare."""

    def materialize(
        self,
        asset: str,
        partitions: Sequence[str],
        run: RunInfo,
        context: dg.AssetExecutionContext | None = None,
    ) -> Generator[PartitionResult]:
        """See :meth:`mlops_assets.backends.base.Backend.materialize`."""
        days = sorted(set(partitions))
        step = step_of_asset(asset, self._source)
        missing = set(days)
        for payload in self._payloads(step.name, asset, days, run, context):
            if piped.RESULT in payload:
                result = PartitionResult(**payload[piped.RESULT])
                missing.discard(result.partition)
                yield self._seen(asset, result)
        if missing:
            raise self._silent(step.name)

    def promote(self, run: RunInfo, context: dg.AssetExecutionContext | None = None) -> Mapping[str, Any]:
        """See :meth:`mlops_assets.backends.base.Backend.promote`."""
        decision: dict[str, Any] = {}
        for payload in self._payloads(PROMOTE, UNPARTITIONED, [], run, context):
            decision.update(payload.get(piped.PROMOTION, {}))
        if not decision:
            raise self._silent(PROMOTE)
        return decision

    def sweep(self, is_over: Callable[[str], bool]) -> list[str]:
        """See :meth:`mlops_assets.backends.base.Backend.sweep`."""
        return sweep(self._engine, is_over, self._config.stop_seconds)

    def close(self) -> None:
        """See :meth:`mlops_assets.backends.base.Backend.close`; containers end with their steps."""
        self._engine.close()

    def _payloads(
        self, step: str, asset: str, days: Sequence[str], run: RunInfo, context: dg.AssetExecutionContext | None
    ) -> Iterator[Any]:
        """What a step's container says, until its end; an error that it tells of is raised here."""
        from mlops_assets.backends.docker.client import ContainerFailedError, StepClient

        if context is None:
            raise TypeError("a step in a container needs Dagster's context: its log messages go there")
        config, image = self._config, self._config.images[step]
        check_image(self._engine, image)
        directories = access.directories(step, config, self._tracking)
        access.make_accessible(directories, days, access.user(config))
        if not self._sees_data_root:
            check_data_root(self._engine, config, image)
            self._sees_data_root = True
        client = StepClient(self._engine, config.stop_seconds, config.memory)
        failure: Mapping[str, Any] | None = None
        try:
            for payload in client.stream(
                context,
                image=image,
                command=[step, "--pipes"],
                extras={
                    piped.ASSET: asset,
                    piped.PARTITIONS: list(days),
                    piped.PARENT_RUN: run.parent_run_id,
                    piped.LIFELINE: True,
                },
                environment=access.environment(step, config, self._tracking),
                options={
                    "labels": labels(run.dagster_run_id, asset, days),
                    **access.hardening(config),
                    "mounts": access.mounts(directories, config),
                    "network_mode": access.network(step, config, self._tracking),
                    "mem_limit": config.memory,
                    "memswap_limit": config.memory,
                    "nano_cpus": int(config.cpus * 1e9) if config.cpus else None,
                },
            ):
                failure = payload.get(piped.FAILURE, failure)
                yield payload
        except ContainerFailedError as error:
            if failure is not None:
                raise _error(failure, step, image) from None
            raise StepFailedError(
                f"The container of step {step} (image {image}) ended with {error}\nWhat was published stays."
            ) from None

    def _silent(self, step: str) -> StepFailedError:
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
    module, _, name = (failure["type"] or "").partition(":")
    if module.startswith("mlops_assets."):
        kind = getattr(import_module(module), name, None)
        if isinstance(kind, type) and issubclass(kind, MlopsAssetsError):
            return kind(failure["message"])
    return StepFailedError(
        f"Step {step} (image {image}) failed: {failure['message']}\nThe log of the run has the traceback."
    )
