"""Runs: starting, logging, ending, and cleaning up after a process that could not end its own."""

from __future__ import annotations

import getpass
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.experiment import experiment_id

if TYPE_CHECKING:
    from mlops_assets.tracking.client import Connection

#: Run tag that names the Dagster run an MLflow run belongs to.
DAGSTER_RUN_TAG = "dagster_run_id"
_logger = logging.getLogger(__name__)


class Runs:
    """The runs of one experiment."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection; nothing is opened yet."""
        self._connection = connection

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
        run_id = self.start_run(name, tags, parent_run_id)
        try:
            yield run_id
        except BaseException as error:
            self._end_quietly(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        self.end_run(run_id, "FINISHED")

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters; values become text, cut at MLflow's 6000 characters."""
        client = self._connection.client  # see `Registry._read`: connect, then import
        from mlflow.entities import Param

        with self._connection.errors("log parameters"):
            client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, model_id: str | None = None) -> None:
        """Log metrics of a run, and of its logged model if one is given."""
        client = self._connection.client  # see `Registry._read`: connect, then import
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entities = [Metric(key, float(value), now, 0, model_id=model_id) for key, value in metrics.items()]
        with self._connection.errors("log metrics"):
            client.log_batch(run_id, metrics=entities)

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        client = self._connection.client  # see `Registry._read`: connect, then import
        from mlflow.entities import RunTag

        with self._connection.errors("log tags"):
            client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def log_dict(self, run_id: str, content: Mapping[str, object], file: str) -> None:
        """Log a mapping as an artifact; ``file`` ends in ``.json`` or ``.yaml``."""
        with self._connection.errors(f"log {file}"):
            self._connection.client.log_dict(run_id, dict(content), file)

    def log_text(self, run_id: str, text: str, file: str) -> None:
        """Log a text as an artifact."""
        with self._connection.errors(f"log {file}"):
            self._connection.client.log_text(run_id, text, file)

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
                self.end_run(run_id, "KILLED")
                closed.append(run_id)
        return closed

    @cached_property
    def _experiment_id(self) -> str:
        return experiment_id(self._connection)

    def start_run(self, name: str, tags: Mapping[str, str], parent_run_id: str | None) -> str:
        """Start a run that the caller must end; gives its id. `model_run` does both."""
        own = {"mlflow.user": _user(), "mlflow.source.name": "mlops-assets", "mlflow.source.type": "JOB"}
        nested = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        with self._connection.errors("start a run"):
            run = self._connection.client.create_run(self._experiment_id, tags={**own, **tags, **nested}, run_name=name)
        return str(run.info.run_id)

    def end_run(self, run_id: str, status: str) -> None:
        """End a run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        with self._connection.errors(f"end run {run_id} as {status}"):
            self._connection.client.set_terminated(run_id, status)

    def _end_quietly(self, run_id: str, status: str) -> None:
        """End a run while an exception is on its way, which must not be replaced by MLflow's."""
        try:
            self.end_run(run_id, status)
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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"
