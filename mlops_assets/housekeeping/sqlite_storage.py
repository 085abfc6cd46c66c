"""Dagster's storage on SQLite, named in ``dagster.yaml``, with the databases that are written to kept open.

Dagster opens, checkpoints and closes two databases, each with a new SQLAlchemy engine, for every event of a run: ten
milliseconds, seven times a day of a range. Files and formats are Dagster's own, so both storages can use them by turns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import NullPool, create_engine

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._core.storage.sqlite_storage import SqliteStorageConfig
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy import Connection

_OPEN = 2  # the index of all runs and the run at work


class SqliteStorage(DagsterSqliteStorage):
    """Runs, events and ticks in one folder, as ``storage: sqlite`` has them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """See the base class."""
        super().__init__(base_dir, inst_data)
        self._event_log_storage = _EventLog(self._event_log_storage._base_dir)  # noqa: SLF001  # whose files stay where they are

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: SqliteStorageConfig,  # type: ignore[override]  # as in the base class
    ) -> SqliteStorage:
        """See the base class, which makes one of its own here."""
        return cls.from_local(inst_data=inst_data, **config_value)


class _EventLog(SqliteEventLogStorage):
    """Events of each run in a database of its own."""

    def __init__(self, base_dir: str) -> None:
        self._connections: dict[str, Connection] = {}  # the one that was used last is the last
        super().__init__(base_dir)

    def store_event(self, event: EventLogEntry) -> None:
        super().store_event(event)
        # Dagster's UI follows a run by changes of its file; while that is open, what is written goes to another one.
        with suppress(FileNotFoundError):  # the run was deleted
            os.utime(self.path_for_shard(event.run_id))

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            connection = self._connections.pop(shard, None) or self._opened(shard)
            try:
                with connection.begin():
                    yield connection
            except BaseException:
                connection.close()
                raise
            self._connections[shard] = connection
            while len(self._connections) > _OPEN:
                self._connections.pop(next(iter(self._connections))).close()

    def dispose(self) -> None:
        with self._db_lock:
            while self._connections:
                self._connections.popitem()[1].close()
        super().dispose()

    def _opened(self, shard: str) -> Connection:
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=NullPool,
            # Threads take turns: the lock is held while a connection is used.
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return engine.connect()
