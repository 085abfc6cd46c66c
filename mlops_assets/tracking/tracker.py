"""The front door: runs (inherited), logged models, links; versions and promotions are `Tracking.registry`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlops_assets.steps.skops_io import dump_model
from mlops_assets.tracking.client import Connection
from mlops_assets.tracking.entities import LoggedModel, Version
from mlops_assets.tracking.mlflow_format import output_type, write_model
from mlops_assets.tracking.ping import ping
from mlops_assets.tracking.registry import Registry
from mlops_assets.tracking.runs import Runs
from mlops_assets.tracking.versions import local_path

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import LoggedModel as MlflowModel
    from sklearn.pipeline import Pipeline

    from mlops_assets.tracking.config import TrackingConfig


class Tracking(Runs):
    """One experiment and one registered model in MLflow.

    Making one is cheap: mlflow is imported and the server contacted at the first call. MLflow's global tracking URI and
    active run are neither read nor set.

    Attributes:
        config: Where MLflow is.
        registry: Versions of the registered model.
    """

    def __init__(self, config: TrackingConfig) -> None:
        """Remember where to connect."""
        super().__init__(Connection(config))
        self.config = config
        self.registry = Registry(self._connection)

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Turn errors of MLflow in a block of code into a `TrackingError` without credentials."""
        return self._connection.errors(doing)

    def connect(self) -> None:
        """Import MLflow and open the connection now, not at the first call.

        Raises:
            TrackingError: MLflow cannot be reached or opened.
        """
        _ = self._connection.client

    def ping(self) -> None:
        """Return if MLflow can be reached.

        Raises:
            TrackingError: It cannot, known after seconds; the message says what to do.
        """
        ping(self.config)

    def log_model(
        self,
        run_id: str,
        pipeline: Pipeline,
        *,
        example: pd.DataFrame,
        types: Mapping[str, str],
        name: str = "model",
        requirements: Sequence[str],
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
            content: The pipeline as `dump_model` gave it, if it was dumped already.

        Returns:
            What `Registry.register` takes.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        return self.log_model_content(
            run_id,
            content or dump_model(pipeline),
            output_type(pipeline),
            example=example,
            types=types,
            name=name,
            requirements=requirements,
        )

    def log_model_content(
        self,
        run_id: str,
        content: bytes,
        output: str,
        *,
        example: pd.DataFrame,
        types: Mapping[str, str],
        name: str = "model",
        requirements: Sequence[str],
    ) -> LoggedModel:
        """As `log_model` for a model that is dumped already; needs no scikit-learn. ``output``: see `output_type`."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        client = self._connection.client
        with self._connection.errors("log the model"):
            logged = client.create_logged_model(self._experiment_id, name=name, source_run_id=run_id)
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
                        content,
                        output,
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

    def run_url(self, run_id: str) -> str | None:
        """Address of a run in MLflow's UI; ``None`` when there is no UI."""
        base = self.config.ui_base
        return f"{base}/#/experiments/{self._experiment_id}/runs/{run_id}" if base else None

    def version_url(self, version: int | Version) -> str | None:
        """Address of a model version in MLflow's UI; ``None`` when there is no UI."""
        base, number = self.config.ui_base, version.number if isinstance(version, Version) else version
        return f"{base}/#/models/{quote(self.config.model_name, safe='')}/versions/{number}" if base else None

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
