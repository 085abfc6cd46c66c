"""The entry point of this package: connecting, recording (inherited), links; versions are `Tracking.registry`."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlops_assets.tracking.client import Connection, sqlite_path
from mlops_assets.tracking.entities import Version
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.ping import ping
from mlops_assets.tracking.recording import Recorder

if TYPE_CHECKING:
    from mlops_assets.tracking.config import TrackingConfig


class Tracking(Recorder):
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
        self._tried_early = False

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Turn errors of MLflow in a block of code into a `TrackingError` without credentials."""
        return self._connection.errors(doing)

    def connect(self) -> None:
        """Import MLflow and open the connection now, not at the first call.

        Raises:
            TrackingError: MLflow cannot be reached or opened.
        """
        _ = self._connection.client

    def connect_early(self) -> None:
        """Import MLflow and open the connection while there is nothing else to do; tried once, and never fails.

        Not in a thread: importing MLflow beside other imports of SQLAlchemy leaves modules half initialised.
        """
        if not self._tried_early:
            self._tried_early = True
            with suppress(Exception):  # the first call raises it
                self.connect()

    def ping(self) -> None:
        """Return if MLflow can be reached.

        Raises:
            TrackingError: It cannot, known after seconds; the message says what to do.
        """
        ping(self.config)

    @property
    def has_store(self) -> bool:
        """Whether MLflow's database exists, or is a server's; the first connection makes one of SQLite."""
        path = sqlite_path(self.config)
        return path is None or path.exists()

    def links(self, version: Version) -> dict[str, str]:
        """Addresses of a version and its run in MLflow's UI, by name; without those that are not known."""
        found = {}
        with suppress(TrackingError):  # a model serves without them
            found = {"mlflow_run_url": self.run_url(version.run_id), "model_version_url": self.version_url(version)}
        return {name: url for name, url in found.items() if url}

    def models_url(self) -> str | None:
        """Address of all models with their days and metrics in MLflow's UI; ``None`` when there is no UI."""
        base = self.config.ui_base
        page = f"experiments/{self.experiment_id(self.config.experiment)}/models?workflowType=machine_learning"
        return f"{base}/#/{page}" if base else None

    def run_url(self, run_id: str) -> str | None:
        """Address of a model's run in MLflow's UI; ``None`` when there is no UI."""
        base = self.config.ui_base
        return f"{base}/#/experiments/{self.experiment_id(self.config.experiment)}/runs/{run_id}" if base else None

    def version_url(self, version: int | Version) -> str | None:
        """Address of a model version in MLflow's UI; ``None`` when there is no UI."""
        base, number = self.config.ui_base, version.number if isinstance(version, Version) else version
        return f"{base}/#/models/{quote(self.config.model_name, safe='')}/versions/{number}" if base else None
