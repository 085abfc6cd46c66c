"""Runs and what is logged in them, through an explicit client. The registry is `Tracking.registry`."""

from __future__ import annotations

import getpass
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlops_assets.tracking.client import Connection
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.experiment import experiment_id
from mlops_assets.tracking.model_files import write_model
from mlops_assets.tracking.models import dump_model
from mlops_assets.tracking.ping import ping
from mlops_assets.tracking.registry import Registry
from mlops_assets.tracking.types import LoggedModel, Version
from mlops_assets.tracking.versions import local_path

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import LoggedModel as MlflowModel
    from sklearn.pipeline import Pipeline

    from mlops_assets.tracking.config import TrackingConfig

#: Run tag that names the Dagster run an MLflow run belongs to.
DAGSTER_RUN_TAG = "dagster_run_id"
_logger = logging.getLogger(__name__)


class Tracking:
    """One experiment and one registered model in MLflow.

    Making one is cheap: mlflow is imported and the server contacted at the first call. MLflow's global tracking URI and
    active run are neither read nor set.

    Attributes:
        config: Where MLflow is.
        registry: Versions of the registered model.
    """

    def __init__(self, config: TrackingConfig) -> None:
        """Remember where to connect."""
        self.config = config
        self._connection = Connection(config)
        self.registry = Registry(self._connection)

    def ping(self) -> None:
        """Return if MLflow can be reached.

        Raises:
            TrackingError: It cannot, known after seconds; the message says what to do.
        """
        ping(self.config)

    @contextmanager
    def model_run(self, name: str, *, tags: Mapping[str, str], parent_run_id: str | None = None) -> Iterator[str]:
        """A run around a block of code; yields its id.

        It ends ``FINISHED``, ``FAILED`` on an `Exception`, ``KILLED`` on anything else that interrupts (Ctrl-C,
            Dagster's termination).

        Args:
            name: Name shown in MLflow.
            tags: Tags of the run; ``dagster_run_id`` lets `close_runs` find it after a crash.
            parent_run_id: Run to nest this one under.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        run_id = self._start(name, tags, parent_run_id)
        try:
            yield run_id
        except BaseException as error:
            self._end_quietly(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        self._end(run_id, "FINISHED")

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters; values become text, cut at MLflow's 6000 characters."""
        from mlflow.entities import Param

        with self._connection.errors("log parameters"):
            self._connection.client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, model_id: str | None = None) -> None:
        """Log metrics of a run, and of its logged model if one is given."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entities = [Metric(key, float(value), now, 0, model_id=model_id) for key, value in metrics.items()]
        with self._connection.errors("log metrics"):
            self._connection.client.log_batch(run_id, metrics=entities)

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        with self._connection.errors("log tags"):
            self._connection.client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def log_dict(self, run_id: str, content: Mapping[str, object], file: str) -> None:
        """Log a mapping as an artifact; ``file`` ends in ``.json`` or ``.yaml``."""
        with self._connection.errors(f"log {file}"):
            self._connection.client.log_dict(run_id, dict(content), file)

    def log_text(self, run_id: str, text: str, file: str) -> None:
        """Log a text as an artifact."""
        with self._connection.errors(f"log {file}"):
            self._connection.client.log_text(run_id, text, file)

    def log_model(
        self,
        run_id: str,
        pipeline: Pipeline,
        *,
        example: pd.DataFrame,
        types: Mapping[str, str],
        name: str = "model",
        requirements: Sequence[str],
        params: Mapping[str, object] | None = None,
        content: bytes | None = None,
    ) -> LoggedModel:
        """Upload a fitted pipeline as a complete MLflow model.

        Args:
            run_id: Run that trained it.
            pipeline: The fitted pipeline.
            example: Some rows of input.
            types: Input column to ``double``, ``string``, ``boolean`` or ``datetime``.
            name: Name of the logged model.
            requirements: pip requirements to load it with; nothing is guessed.
            params: Parameters shown with the model (those of the run are not copied).
            content: The pipeline as `dump_model` gave it, if it was dumped already.

        Returns:
            What `Registry.register` takes.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        client, texts = self._connection.client, {key: str(value) for key, value in (params or {}).items()}
        with self._connection.errors("log the model"):
            logged = client.create_logged_model(self._experiment_id, name=name, source_run_id=run_id, params=texts)
            model = Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            try:
                with self._upload(logged) as directory:
                    write_model(
                        directory,
                        model,
                        pipeline,
                        content or dump_model(pipeline),
                        example=example,
                        types=types,
                        requirements=requirements,
                    )
            except BaseException:
                client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return LoggedModel(logged.model_id, logged.artifact_location)

    def close_runs(self, is_over: Callable[[str], bool]) -> list[str]:
        """End the runs that a killed process left ``RUNNING``.

        Args:
            is_over: Whether a Dagster run, given its id, is over.

        Returns:
            Ids of the MLflow runs that were ended as ``KILLED``.
        """
        answers: dict[str, bool] = {}
        closed = []
        for run_id, dagster_run_id in self._running():
            if dagster_run_id not in answers:
                answers[dagster_run_id] = is_over(dagster_run_id)
            if answers[dagster_run_id]:
                self._end(run_id, "KILLED")
                closed.append(run_id)
        return closed

    def run_url(self, run_id: str) -> str | None:
        """Address of a run in MLflow's UI; ``None`` when there is no UI."""
        base = self.config.ui_base
        return f"{base}/#/experiments/{self._experiment_id}/runs/{run_id}" if base else None

    def version_url(self, version: int | Version) -> str | None:
        """Address of a model version in MLflow's UI; ``None`` when there is no UI."""
        base, number = self.config.ui_base, version.number if isinstance(version, Version) else version
        return f"{base}/#/models/{quote(self.config.model_name, safe='')}/versions/{number}" if base else None

    @cached_property
    def _experiment_id(self) -> str:
        return experiment_id(self._connection)

    def _start(self, name: str, tags: Mapping[str, str], parent_run_id: str | None) -> str:
        own = {"mlflow.user": _user(), "mlflow.source.name": "mlops-assets", "mlflow.source.type": "JOB"}
        nested = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        with self._connection.errors("start a run"):
            run = self._connection.client.create_run(self._experiment_id, tags={**own, **tags, **nested}, run_name=name)
        return str(run.info.run_id)

    def _end(self, run_id: str, status: str) -> None:
        with self._connection.errors(f"end run {run_id} as {status}"):
            self._connection.client.set_terminated(run_id, status)

    def _end_quietly(self, run_id: str, status: str) -> None:
        """End a run while an exception is on its way, which must not be replaced by MLflow's."""
        try:
            self._end(run_id, status)
        except TrackingError as error:
            _logger.warning("%s The run stays RUNNING until the next clean-up.", error)

    def _running(self) -> list[tuple[str, str]]:
        """Ids of all running runs with a Dagster run, and of that."""
        found, token = [], None
        while True:
            with self._connection.errors("search running runs"):
                page = self._connection.client.search_runs(
                    [self._experiment_id], "attributes.status = 'RUNNING'", max_results=1000, page_token=token
                )
            found += [
                (run.info.run_id, run.data.tags[DAGSTER_RUN_TAG]) for run in page if DAGSTER_RUN_TAG in run.data.tags
            ]
            token = page.token
            if not token:
                return found

    @contextmanager
    def _upload(self, logged: MlflowModel) -> Iterator[Path]:
        """A directory whose files become the model's artifacts; the place itself when it is on this machine."""
        local = local_path(logged.artifact_location)
        if local is not None:
            yield local
            return
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
            self._connection.client.log_model_artifacts(logged.model_id, scratch)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"
