"""Every step in a container of its own, which handles all partitions of a request."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlops_assets.backends.docker import access, answers
from mlops_assets.backends.docker.access import Directory
from mlops_assets.backends.docker.cleanup import cleanup
from mlops_assets.backends.docker.container import StepContainer
from mlops_assets.backends.docker.engine import Engine
from mlops_assets.backends.docker.images import (
    Image,
    ImageError,
    check_image,
    default_images,
    find_image,
    serves_models,
)
from mlops_assets.backends.docker.labels import labels
from mlops_assets.backends.docker.launch_ahead import Launch, LaunchAhead
from mlops_assets.backends.docker.probe import check_data_root
from mlops_assets.runtime.foreign import ForeignWork
from mlops_assets.runtime.pipes import FAILURE, RESULT, Order, workers_for
from mlops_assets.steps.catalog import ASSETS, GATE, TRAINING_ASSETS, steps_of

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

    from mlops_assets.backends.docker.client import StepClient
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.runtime.request import PartitionResult, Request
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore

_ID = re.compile(r"sha256:[0-9a-f]{64}")


class DockerBackend:
    """Needs a Docker engine that sees the data root, and the images."""

    leaves_processes = True

    def __init__(self, config: DockerConfig, store: LocalStore, params: Parameters) -> None:
        """Nothing is connected until first use."""
        self._config, self.store, self.params = config, store, params
        self._cores = math.ceil(config.cpus) if config.cpus else None
        self._workers = self._cores if config.workers is None else config.workers
        self._engine = Engine()
        self._ahead = LaunchAhead(self._launch)
        self._is_proved = False
        self._ran_in: dict[str, str] = {}
        """Step -> ID of the image of its last container."""

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:
        """See :meth:`mlops_assets.backends.base.Backend.prepare`: the container of the first step starts.

        Raises:
            EngineError: The engine cannot be reached.
            ImageError: An image that the run needs is missing or stale: now, and not after hours of work. Of a run that
                predicts only those that predictions need: nothing that concerns training stops it.
        """
        predicts, trains = "predictions" in assets, not set(TRAINING_ASSETS).isdisjoint(assets)
        needed = ("raw_data", "predictions") if predicts else ASSETS
        images: dict[str, Image] = {}
        for asset in ASSETS:
            if asset in assets and (asset != "production_model" or trains or not predicts):
                try:
                    images |= {step.name: self._image(step.name) for step in steps_of(asset, self.params.source)}
                except ImageError:  # else the step says so when it comes
                    if asset in needed:
                        raise
        days = tuple(sorted(set(partitions)))
        if run_id:
            ours = [(step, image.id) for step, image in images.items() if not image.is_foreign]
            self._ahead.plan(
                [
                    # the gate judges on the last day
                    self._to_launch(run_id, step, image, days[-1:] if step == GATE.name else days)
                    for step, image in ours
                ]
            )

    def run(self, request: Request, context: AssetExecutionContext | None = None) -> Generator[PartitionResult]:
        """See :meth:`mlops_assets.backends.base.Backend.run`.

        Partitions whose models were trained by different images run in a container of each.
        """
        if context is None:
            raise TypeError("a step in a container needs Dagster's context: its log messages go there")
        results = self._run(request, context)
        next(results, None)  # the first container has its order
        return results  # type: ignore[return-value]  # from here on it gives results only

    def _run(self, request: Request, context: AssetExecutionContext) -> Generator[PartitionResult | None]:
        try:
            for place, (image, partitions) in enumerate(self._by_image(request)):
                run = self._run_program if image.is_foreign else self._run_step
                with closing(run(request.only(partitions), image, context)) as results:
                    at_work = next(results)
                    if place == 0:
                        yield at_work
                    yield from results
        except BaseException:
            self._ahead.drop()  # what comes next will not be asked for
            raise

    def recipe_image(self, step: str) -> str:
        """See :meth:`mlops_assets.backends.base.Backend.recipe_image`: the ID of an image that is named for the step.

        Raises:
            EngineError: The engine cannot be reached.
            ImageError: The image is missing or stale.
        """
        if step not in self._config.images:
            return ""
        image, ours = self._image(step), find_image(self._engine, self._default_image(step))
        return "" if ours is not None and ours.id == image.id else image.id

    def image_id(self, step: str) -> str:
        """See :meth:`mlops_assets.backends.base.Backend.image_id`: that of the step's last container.

        Before the first one it is the engine's present one; for the errors see :meth:`recipe_image`. A name may lead to
        another image by the time that the step is done.
        """
        return self._ran_in.get(step) or self._image(step).id

    def cleanup(self, is_over: Callable[[str], bool]) -> list[str]:
        """See :meth:`mlops_assets.backends.base.Backend.cleanup`."""
        return cleanup(self._engine, is_over, self._config.stop_seconds)

    def close(self) -> None:
        """See :meth:`mlops_assets.backends.base.Backend.close`; containers end with their steps."""
        self._ahead.drop()
        self._engine.close()

    def _image(self, step: str) -> Image:
        """The image that a step runs in, unless the image that trained its model does."""
        named = self._config.images.get(step)
        name = named or self._default_image(step)
        return check_image(self._engine, name, may_be_foreign=named is not None)

    def _default_image(self, step: str) -> str:
        return default_images(self.params.source, self._config.image_prefix)[step]

    def _by_image(self, request: Request) -> list[tuple[Image, list[str]]]:
        """The images that run a request, each with its partitions.

        A model is used by the image that trained it, as long as the engine has it and an image is not named for the
        step: so another version of a library does not stop the model in production.
        """
        found: dict[str, tuple[Image, list[str]]] = {}
        for partition in sorted(set(request.partitions)):
            model = request.models.get(partition)
            trained_by = model.image if model and request.step not in self._config.images else ""
            image = find_image(self._engine, trained_by) if _ID.fullmatch(trained_by) else None
            image = image if image is not None and serves_models(image) else self._image(request.step)
            found.setdefault(image.id, (image, []))[1].append(partition)
        return list(found.values())

    def _run_step(
        self, request: Request, image: Image, context: AssetExecutionContext
    ) -> Generator[PartitionResult | None]:
        """Run a step of ours in a container: None when it has its order, then the results."""
        still_open, failure = set(request.partitions), None
        launch = self._to_launch(context.run.run_id, request.step, image.id, request.partitions)
        with ExitStack() as stack:
            container = self._ahead.take(launch)
            stack.callback(container.remove)
            self._ran_in[request.step] = image.id
            self._make_accessible(launch)
            workers = workers_for(len(request.partitions), self._workers)
            order = Order(request, str(self.store.root), workers, access.umask()).to_json()
            payloads = stack.enter_context(closing(self._client.stream(context, container, order)))
            next(payloads)
            self._ahead.start_next()
            yield None
            for payload in payloads:
                failure = payload.get(FAILURE, failure)
                if RESULT in payload:
                    result = answers.partition_result(payload[RESULT], still_open, image)
                    still_open.discard(result.partition)
                    yield answers.checked(self.store, request.step, result)
            ending = container.ending()
        if not ending.was_out_of_memory:
            answers.raise_reported(failure, request.step, image)
        if ending.code:
            raise answers.ended_badly(request.step, image, ending, self._config.memory)
        if still_open:
            raise answers.unanswered(request.step, image, still_open)

    def _run_program(
        self, request: Request, image: Image, context: AssetExecutionContext
    ) -> Generator[PartitionResult | None]:
        """Run a program of the user's in the place of a step (docs/step-contract.md); gives the same."""
        work = ForeignWork(self.store, request)
        if not work.still_open:
            yield None
            yield from work.failed
            return
        seen = access.directories(request.step, self._config.data_dir, request.partitions)
        inputs, has_failed = [one for one in seen if not one.writable], False
        directories = [*inputs, *(Directory(one, writable=True) for one in work.folders)]
        with ExitStack() as stack:
            stack.enter_context(work.scratch(access.new_owner(access.user(self._config))))
            container = self._started(request.step, image.id, (), context.run.run_id, request.partitions, directories)
            stack.callback(container.remove)
            self._ran_in[request.step] = image.id
            container.send(json.dumps(work.order()))
            yield None
            yield from work.failed
            for line in container.lines():
                if line.strip():  # else a heartbeat
                    result = work.publish(line)
                    has_failed = has_failed or result.error is not None
                    yield result
            ending = container.ending()
        if ending.code not in ((0, 1) if has_failed else (0,)):
            raise answers.ended_badly(request.step, image, ending, self._config.memory)
        if work.still_open:
            raise answers.unanswered(request.step, image, work.still_open)

    def _to_launch(self, run_id: str, step: str, image: str, partitions: tuple[str, ...]) -> Launch:
        seen = access.directories(step, self._config.data_dir, partitions)
        return Launch(run_id, step, image, tuple(seen), partitions)

    def _launch(self, launch: Launch) -> StepContainer:
        """Start a container of ours, which imports what the step needs and waits for its order."""
        workers = workers_for(len(launch.partitions), self._workers)
        command = ["--prepare", launch.step, "--data-root", str(self.store.root), "--workers", str(workers)]
        self._make_accessible(launch)
        return self._started(launch.step, launch.image, command, launch.run_id, launch.partitions, launch.directories)

    def _started(
        self, step: str, image: str, command: Sequence[str], run_id: str, partitions: Sequence[str],
        directories: Sequence[Directory],
    ) -> StepContainer:  # fmt: skip
        self._prove()
        options: dict[str, Any] = {
            **access.hardening(self._config),
            "environment": {"OMP_NUM_THREADS": str(self._cores)} if self._cores else {},
            "labels": labels(run_id, step, partitions),
            "mounts": access.mounts(directories, self._config),
            "network_mode": self._config.networks.get(step, "none"),
        }
        return StepContainer(self._engine, image, command, options, self._config.stop_seconds)

    def _prove(self) -> None:
        """Look once whether the engine sees the same directories: it, or this process, may be somewhere else."""
        if not self._is_proved and not (self._engine.is_local and self._config.host_data_dir is None):
            check_data_root(self._engine, self._config)
        self._is_proved = True

    def _make_accessible(self, launch: Launch) -> None:
        access.make_accessible(launch.directories, launch.partitions, access.user(self._config))

    @cached_property
    def _client(self) -> StepClient:
        from mlops_assets.backends.docker.client import StepClient

        return StepClient()
