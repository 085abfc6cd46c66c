"""Recording what a step has made: a model as MLflow run, logged model and version; its metrics. Once per recipe."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.store.layout import MODEL
from mlops_assets.tracking.entities import (
    DESCRIPTION_SHA256_TAG,
    DS_TAG,
    MODEL_ID_TAG,
    RECIPE_TAG,
    SHA256_TAG,
)
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.mlflow_format import check_description, write_model
from mlops_assets.tracking.model_files import copy_file, local_path
from mlops_assets.tracking.registry import Registry
from mlops_assets.tracking.runs import DAGSTER_RUN_TAG, Runs

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

    from mlops_assets.tracking.client import Connection
    from mlops_assets.tracking.entities import TrainedModel, Version

_PARAM_LIMIT = 6000  # of MLflow's, which warns when it cuts
METRICS_RECIPE_TAG = "mlops.metrics_recipe"
"""Run tag: the recipe of the metrics that were logged last."""


class Recorder(Runs):
    """Records models and metrics; safe to repeat after a crash at any instant."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection; nothing is opened yet."""
        super().__init__(connection)
        self.registry = Registry(connection)

    def record_model(self, model: TrainedModel, *, known: Mapping[str, Version] | None = None) -> Version:
        """Log a trained model in a run of its own and register it, unless its recipe has a version already.

        The version is registered after the run has ended, so a version never belongs to an unfinished run. A crash
        before leaves a run without a version, and the model is recorded again.

        Args:
            model: What was trained.
            known: `Registry.recipes`, if they were read already: saves a search. A version that was registered since
                is noticed all the same; the lower one stays.

        Raises:
            TrackingError: The file is not what the training step reported, the description is incomplete, or MLflow
                refused or cannot be reached.
        """
        found = self.registry.find(model.recipe) if known is None else known.get(model.recipe)
        if found is not None:
            return found
        description = json.dumps(model.description, sort_keys=True).encode()
        own = {
            **model.tags,
            RECIPE_TAG: model.recipe,
            SHA256_TAG: model.sha256,
            DS_TAG: model.ds,
            DESCRIPTION_SHA256_TAG: hashlib.sha256(description).hexdigest(),
        }
        dagster = {DAGSTER_RUN_TAG: model.dagster_run_id} if model.dagster_run_id else {}
        self._check(model)
        with self.run(f"model {model.ds}", tags={**own, **dagster}) as run_id:
            self._log_params(run_id, model.params)
            logged = self._log_model(run_id, model, description)
        return self.registry.register(
            logged.artifact_location, run_id, {**own, MODEL_ID_TAG: logged.model_id}, model_id=logged.model_id
        )

    def record_metrics(
        self, version: Version, metrics: Mapping[str, float], content: Mapping[str, Any], file: str, *, recipe: str
    ) -> None:
        """Log metrics to the run and the logged model of a version, unless those of this recipe are there already.

        Args:
            version: Whose metrics they are.
            metrics: Name to value.
            content: Logged as a JSON artifact of the run.
            file: Name of that artifact; ends in ``.json``.
            recipe: Identity of the metrics.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        client = self._connection.client  # before the import: connecting sets switches that MLflow reads there
        from mlflow.entities import Metric, RunTag

        now, model_id = int(time.time() * 1000), version.model_id or None
        with self._connection.errors(f"log the metrics of version {version.number}"):
            if client.get_run(version.run_id).data.tags.get(METRICS_RECIPE_TAG) == recipe:
                return
            client.log_dict(version.run_id, dict(content), file)
            # The tag says that all is there, so it is written last; a batch is written in this order.
            client.log_batch(
                version.run_id,
                metrics=[Metric(name, float(value), now, 0, model_id=model_id) for name, value in metrics.items()],
                tags=[RunTag(METRICS_RECIPE_TAG, recipe)],
            )

    def recorded_metrics(self) -> set[str]:
        """The recipes of all metrics that were logged: one search.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        found = self._search_runs(f"tags.`{METRICS_RECIPE_TAG}` != ''", self._connection.config.experiment)
        return {run.data.tags[METRICS_RECIPE_TAG] for run in found}

    def _check(self, model: TrainedModel) -> None:
        """Refuse what cannot be recorded before a run is started for it."""
        try:
            check_description(model.description)
        except (ValueError, TypeError, AttributeError) as error:
            raise TrackingError(
                f"The model of {model.ds} was not recorded: its description (model.json) cannot be used: {error}. "
                "Train the model again; if the training step is your own, see docs/step-contract.md."
            ) from error
        if not model.file.is_file():
            raise TrackingError(
                f"The model of {model.ds} was not recorded: there is no file {model.file}. Train the model again."
            )

    def _log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters; values become text."""
        from mlflow.entities import Param

        with self._connection.errors("log parameters"):
            entities = [Param(name, str(value)[:_PARAM_LIMIT]) for name, value in params.items()]
            self._connection.client.log_batch(run_id, params=entities)

    def _log_model(self, run_id: str, model: TrainedModel, description: bytes) -> LoggedModel:
        """Upload a complete MLflow model."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        client, experiment = self._connection.client, self.experiment_id(self._connection.config.experiment)
        with self._connection.errors("log the model"):
            logged = client.create_logged_model(experiment, name="model", source_run_id=run_id)
            try:
                with self._upload(logged) as directory:
                    _copy_verified(model, directory)
                    entity = Model(
                        artifact_path=logged.artifact_location,
                        run_id=run_id,
                        model_uuid=logged.model_id,
                        model_id=logged.model_id,
                    )
                    write_model(directory, entity, model.description, description)
            except Exception:
                client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return logged

    @contextmanager
    def _upload(self, logged: LoggedModel) -> Iterator[Path]:
        """A directory whose files become the model's artifacts; the place itself when it is on this machine."""
        local = local_path(logged.artifact_location)
        if local is not None:
            local.mkdir(parents=True, exist_ok=True)
            yield local
            return
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
            self._connection.client.log_model_artifacts(logged.model_id, scratch)


def _copy_verified(model: TrainedModel, directory: Path) -> None:
    actual = copy_file(model.file, directory / MODEL)
    if actual != model.sha256:
        raise TrackingError(
            f"The model of {model.ds} was not recorded: {model.file} has SHA-256 {actual[:12]}…, the training step "
            f"reported {model.sha256[:12]}…. The file was changed after training. Train the model again."
        )
