"""One MLflow client for an explicit URI: connecting safely, failing quickly, translating errors.

MLflow's module-level state (tracking URI, active run) is never touched. Some of its process-wide switches are
environment variables and have no other form; they are set here unless the user set them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mlops_assets.imports import importing
from mlops_assets.tracking.errors import TrackingAwayError, TrackingError
from mlops_assets.tracking.ping import ping

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mlops_assets.tracking.config import TrackingConfig

_REFUSED = {400, 401, 403, 404, 405, 409, 422, 501}  # HTTP codes of requests that fail again when repeated
_NOISY = ("alembic", "mlflow.store.db.utils")
_PING_AFTER_SECONDS = 10.0
_LIBRARIES = ("mlflow.", "sqlalchemy.", "urllib3.", "botocore.", "boto3.", "google.", "azure.")
"""Where the exceptions of MLflow, its databases and its stores of artifacts come from."""


class Connection:
    """A lazily opened `MlflowClient`; safe to share between threads."""

    def __init__(self, config: TrackingConfig) -> None:
        """Remember where to connect; nothing is imported or opened yet."""
        self.config = config
        self._client: MlflowClient | None = None
        self._answered = 0.0
        self._lock = threading.Lock()

    @property
    def client(self) -> MlflowClient:
        """The client, connected at first use.

        A server that stops answering later is noticed in seconds: MLflow's own retries take minutes a call.

        Raises:
            TrackingError: MLflow cannot be reached or opened.
        """
        with self._lock:
            if self._client is None:
                self._client = self._open()
            elif self.config.is_server and time.monotonic() - self._answered > _PING_AFTER_SECONDS:
                ping(self.config)
            else:
                return self._client
            self._answered = time.monotonic()
            return self._client

    def _open(self) -> MlflowClient:
        ping(self.config)
        set_process_switches()
        with importing("mlflow"):
            from mlflow import MlflowClient

            # This is half of the import: SQLAlchemy, Alembic and MLflow's tables.
            with self.errors("open the store"), _quiet(), store_lock(self.config):
                path = sqlite_path(self.config)
                if path is not None and not path.exists():
                    _create_database(path)
                client = MlflowClient(self.config.uri, self.config.uri)
                client.search_registered_models(max_results=1)  # the registry's half of the store is opened lazily
                return client

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes out of a SQLite store; does nothing for servers and other databases."""
        # Connect first: opening takes the same lock, which a process cannot hold twice.
        _ = self.client
        with store_lock(self.config):
            yield

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn the exceptions of MLflow, its database and the file system into a `TrackingError`.

        Args:
            doing: What is tried, to follow "MLflow could not".

        Raises:
            TrackingError: MLflow refused, or failed (TrackingAwayError).
        """
        try:
            yield
        except Exception as error:
            if not (isinstance(error, OSError) or type(error).__module__.startswith(_LIBRARIES)):
                raise
            text = str(error)
            safe = self.config.redact(text)
            message = (
                f"MLflow could not {doing} at {self.config.safe_uri} (experiment {self.config.experiment!r}, model "
                f"{self.config.model_name!r}): {safe} Check MLFLOW_TRACKING_URI and the MLflow server's log, then try "
                "again."
            )
            # A cause that spells out the password would be printed with the traceback.
            kind = TrackingError if _is_refusal(error) else TrackingAwayError
            raise kind(message) from (error if safe == text else None)


def _is_refusal(error: Exception) -> bool:
    """Whether MLflow refused the request, so that a retry is pointless."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.get_http_status_code() in _REFUSED  # type: ignore[no-untyped-call]


def _create_database(path: Path) -> None:
    """Create a SQLite store that is complete from the moment it gets its name.

    MLflow creates one by forty migrations. A process that is killed between two of them leaves a database that no
    later process can open or migrate. A write-ahead log halves the time of MLflow's many small writes, and readers do
    not wait for them.
    """
    import sqlite3

    from mlflow import MlflowClient

    draft = path.with_name(path.name + ".new")
    for leftover in (draft, draft.with_name(draft.name + "-journal")):
        leftover.unlink(missing_ok=True)
    uri = f"sqlite:///{draft}"
    MlflowClient(uri, uri).search_registered_models(max_results=1)
    draft.replace(path)
    # A disk without shared memory, such as some network's, has no such log: all works without it.
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")  # from now on: it is written into the file


def set_process_switches() -> None:
    """Switch off MLflow's telemetry, links on stdout and progress bars, and shorten its retries (7 of 120 seconds).

    What the user chose stays. Source: ``mlflow/telemetry/utils.py``, ``mlflow/environment_variables.py`` and
    ``mlflow/tracking/_tracking_service/client.py`` (3.17).
    """
    if "DO_NOT_TRACK" not in os.environ:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")


@contextmanager
def store_lock(config: TrackingConfig) -> Iterator[None]:
    """Hold an exclusive lock on a SQLite store (between processes); does nothing for servers and other databases.

    MLflow creates and migrates a fresh database without any lock, so two processes that start together would break it.
    """
    path = sqlite_path(config)
    if path is None:
        yield
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sqlite_path(config: TrackingConfig) -> Path | None:
    """The database file of a ``sqlite:///`` URI, else ``None``."""
    if config.scheme != "sqlite":
        return None
    return Path(unquote(config.uri.partition(":///")[2].partition("?")[0])).absolute()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of a fresh database's migrations off the user's terminal."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
