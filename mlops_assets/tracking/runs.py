"""Runs: starting and ending them, and ending those of a process that could not end its own."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.tracking.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Run

    from mlops_assets.tracking.client import Connection

DAGSTER_RUN_TAG = "dagster_run_id"
"""Run tag that names the Dagster run an MLflow run belongs to; dagster-mlflow sets the same."""
# MLflow's UI opens an experiment without a kind as one of generative AI, without its table of runs (3.17).
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_logger = logging.getLogger(__name__)


class Runs:
    """The runs of the models' experiment, and of the experiment of dagster-mlflow's parent runs."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection; nothing is opened yet."""
        self._connection = connection
        self._ids: dict[str, str] = {}

    @contextmanager
    def run(self, name: str, *, tags: Mapping[str, str]) -> Iterator[str]:
        """A run around a block of code; yields its id.

        It ends ``FINISHED``, ``FAILED`` on an `Exception`, ``KILLED`` on any other interruption (Ctrl-C, Dagster's
        termination).

        Args:
            name: Name shown in MLflow.
            tags: Tags of the run; ``dagster_run_id`` lets `close_runs` find it after a crash.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        own = {"mlflow.user": _user(), "mlflow.source.name": "mlops-assets", "mlflow.source.type": "JOB"}
        experiment = self.experiment_id(self._connection.config.experiment)
        with self._connection.errors("start a run"):
            run = self._connection.client.create_run(experiment, tags={**own, **tags}, run_name=name)
        run_id = str(run.info.run_id)
        try:
            yield run_id
        except BaseException as error:
            # MLflow's error must not replace the one that is raised here.
            try:
                self._end(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            except TrackingError as second:
                _logger.warning("%s The run stays RUNNING until the next clean-up.", second)
            raise
        self._end(run_id, "FINISHED")

    def close_runs(self, is_over: Callable[[str], bool]) -> list[str]:
        """End the runs that a killed process left ``RUNNING``.

        Args:
            is_over: Whether a Dagster run, given its id, is over.

        Returns:
            Ids of the MLflow runs that were ended as ``KILLED``.
        """
        running = self._running()
        over = {dagster_run_id for dagster_run_id in set(running.values()) if is_over(dagster_run_id)}
        closed = [run_id for run_id, dagster_run_id in running.items() if dagster_run_id in over]
        for run_id in closed:
            self._end(run_id, "KILLED")
        return closed

    def experiment_id(self, name: str) -> str:
        """Id of an experiment, which is created when it is missing; asked for once.

        Raises:
            TrackingError: The experiment was deleted, or MLflow refused.
        """
        if name not in self._ids:
            with self._connection.errors(f"open the experiment {name!r}"):
                self._ids[name] = self._open_experiment(name)
        return self._ids[name]

    def _open_experiment(self, name: str) -> str:
        config, client = self._connection.config, self._connection.client
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                place = self._artifact_location()
                return str(client.create_experiment(name, artifact_location=place, tags=_KIND))
            except MlflowException as error:
                # Another process created it in between.
                experiment = client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"The MLflow experiment {name!r} at {config.safe_uri} was deleted. Restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or choose another name "
                "(MLOPS_EXPERIMENT)."
            )
        return str(experiment.experiment_id)

    def _artifact_location(self) -> str | None:
        """Where the artifacts of a new experiment go; ``None``: the server decides."""
        root = self._connection.config.artifact_root
        if root is None or self._connection.config.is_server:
            return None
        return root if "://" in root else str(Path(root).absolute())

    def _end(self, run_id: str, status: str) -> None:
        with self._connection.errors(f"end run {run_id} as {status}"):
            self._connection.client.set_terminated(run_id, status)

    def _running(self) -> dict[str, str]:
        """Ids of all running runs that belong to a Dagster run, with the id of that."""
        config = self._connection.config
        found = self._search_runs("attributes.status = 'RUNNING'", config.experiment, config.runs_experiment)
        return {
            str(run.info.run_id): run.data.tags[DAGSTER_RUN_TAG] for run in found if DAGSTER_RUN_TAG in run.data.tags
        }

    def _search_runs(self, condition: str, *experiments: str) -> Iterator[Run]:
        ids, token = [self.experiment_id(name) for name in experiments], None
        while True:
            with self._connection.errors("search runs"):
                page = self._connection.client.search_runs(ids, condition, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"
