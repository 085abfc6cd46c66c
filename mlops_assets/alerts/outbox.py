"""The outbox: a queue of alerts in a SQLite file, and the keys of those that were queued before.

An alert is queued for each target that is configured when it is added. Each message is sent within the transaction
that takes it from the queue: a process that is killed loses nothing, and two processes never send the same message.
Only a kill between a server's OK and the commit sends a message again.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.alerts.message import Alert, AlertError

if TYPE_CHECKING:
    from mlops_assets.alerts.channels import Target

DELIVERY_SECONDS = 20
"""`deliver` starts no further message after this time; the next call goes on."""

GIVE_UP_SECONDS = 86_400
KEEP_SECONDS = 90 * 86_400
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 3_600.0
_BUSY_SECONDS = 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL,
    added REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY, alert INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE, target TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS of_alert ON queue (alert);
"""


@dataclass(frozen=True)
class Delivered:
    """How many messages were sent, and a line for each that failed."""

    sent: int
    failed: tuple[str, ...]


class Outbox:
    """The alerts of one pipeline. The file is opened for each call, so any thread may use the object."""

    def __init__(self, path: Path) -> None:
        """Take the SQLite file's path; it is created, readable for its owner only, at first use."""
        self._path = path

    def add(self, alerts: Sequence[Alert], targets: Sequence[Target], now: float) -> int:
        """Queue alerts for these targets; alerts whose key is known are ignored.

        Returns:
            How many were new.
        """
        if not alerts:
            return 0
        new = 0
        with self._transaction() as database:
            for one in alerts:
                row = (one.key, one.kind, one.title, one.body, now)
                sql = "INSERT OR IGNORE INTO alerts (key, kind, title, body, added) VALUES (?, ?, ?, ?, ?)"
                inserted = database.execute(sql, row)
                if inserted.rowcount:
                    new += 1
                    rows = [(inserted.lastrowid, target.id, now) for target in targets]
                    database.executemany("INSERT INTO queue (alert, target, due) VALUES (?, ?, ?)", rows)
            database.execute("DELETE FROM alerts WHERE added < ?", (now - KEEP_SECONDS,))
        return new

    def deliver(self, targets: Sequence[Target], clock: Callable[[], float] = time.time) -> Delivered:
        """Send what is due, for about `DELIVERY_SECONDS`; a target that fails gets no further message in this call."""
        sent, failed = 0, []
        waiting = {target.id: target for target in targets}
        end = time.monotonic() + DELIVERY_SECONDS
        while waiting and time.monotonic() < end:
            with self._transaction() as database:
                # Failed messages come last: a target that is down does not delay the others.
                row = database.execute(
                    "SELECT q.id, q.target, q.attempts, a.added, a.key, a.kind, a.title, a.body"
                    " FROM queue q JOIN alerts a ON a.id = q.alert WHERE q.due <= ?"
                    " AND q.target IN (SELECT value FROM json_each(?)) ORDER BY q.attempts, q.id LIMIT 1",
                    (clock(), json.dumps(list(waiting))),
                ).fetchone()
                if row is None:
                    break
                number, target, attempts, added, *facts = row
                alert = Alert(*facts)
                try:
                    waiting[target].send(alert)
                except AlertError as error:
                    del waiting[target]
                    outcome = _retry(database, number, attempts, clock(), added + GIVE_UP_SECONDS)
                    failed.append(f"The alert {alert.title!r} was not delivered: {error} {outcome}")
                else:
                    database.execute("DELETE FROM queue WHERE id = ?", (number,))
                    sent += 1
        return Delivered(sent, tuple(failed))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mknod(self._path, 0o600)  # not os.open: closing a descriptor drops SQLite's locks in this process
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)) as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("BEGIN IMMEDIATE")
            try:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                yield database
            except BaseException:
                database.rollback()
                raise
            database.commit()


def _retry(database: sqlite3.Connection, number: int, attempts: int, now: float, last: float) -> str:
    """Schedule the next attempt after a growing pause, or give up; returns which, as a sentence."""
    pause = min(_FIRST_PAUSE * 2 ** min(attempts, 20), _LONGEST_PAUSE) * random.uniform(0.75, 1.25)  # noqa: S311
    if now + pause > last:
        database.execute("DELETE FROM queue WHERE id = ?", (number,))
        return "Gave up after a day."
    database.execute("UPDATE queue SET attempts = attempts + 1, due = ? WHERE id = ?", (now + pause, number))
    return "Will retry."
