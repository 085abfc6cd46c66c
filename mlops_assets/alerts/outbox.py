"""The outbox: alerts and to whom they were delivered, in a SQLite file; a killed process loses and repeats none.

Each alert has one delivery for each target that was configured when it was added. Who delivers takes a claim first;
the claim of a process that is gone is void.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.alerts.message import Alert

CLAIM_SECONDS = 600
"""A claim is void after this time where nobody can tell whether its process lives: another host or container."""

GIVE_UP_SECONDS = 86_400
KEEP_SECONDS = 90 * 86_400
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 3_600.0
_BUSY_SECONDS = 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL,
    added REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, alert INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE, target TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL,
    claim TEXT, claimed REAL
);
CREATE INDEX IF NOT EXISTS pending ON deliveries (due) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS of_alert ON deliveries (alert);
"""


@dataclass(frozen=True)
class Delivery:
    """An alert that is to be sent to one target, claimed by this process."""

    id: int
    target: str
    alert: Alert
    added: float
    attempts: int


class Outbox:
    """The alerts of one system. Opened for each call: any thread of any process may use it."""

    def __init__(self, path: Path, *, process: Callable[[], str], is_gone: Callable[[str], bool]) -> None:
        """Name the file; it is made, readable for its owner only, at first use.

        Args:
            path: The SQLite file.
            process: What identifies this process.
            is_gone: Whether a process that was identified like that is certainly gone.
        """
        self._path, self._process, self._is_gone = path, process, is_gone

    def add(self, alerts: Sequence[Alert], targets: Sequence[str], now: float) -> int:
        """Put alerts in, to be delivered to these targets; those whose key is known are ignored.

        Returns:
            How many were new.
        """
        if not alerts:
            return 0
        with self._transaction() as database:
            _hand_over(database, targets)
            new = 0
            for one in alerts:
                row = (one.key, one.kind, one.title, one.body, now)
                sql = "INSERT OR IGNORE INTO alerts (key, kind, title, body, added) VALUES (?, ?, ?, ?, ?)"
                inserted = database.execute(sql, row)
                if inserted.rowcount:
                    new += 1
                    rows = [(inserted.lastrowid, target, now) for target in targets]
                    database.executemany("INSERT INTO deliveries (alert, target, due) VALUES (?, ?, ?)", rows)
            database.execute("DELETE FROM alerts WHERE added < ?", (now - KEEP_SECONDS,))
        return new

    def claim(self, targets: Sequence[str], now: float) -> Delivery | None:
        """The next delivery that is due to one of these targets, for this process alone; None if there is none."""
        with self._transaction() as database:
            _hand_over(database, targets)
            sql = (
                "SELECT d.id, d.target, d.attempts, d.claim, d.claimed, a.key, a.kind, a.title, a.body, a.added"
                " FROM deliveries d JOIN alerts a ON a.id = d.alert WHERE d.state = 'pending' AND d.due <= ?"
                " AND d.target IN (SELECT value FROM json_each(?)) ORDER BY d.attempts, d.id"
            )
            rows = database.execute(sql, (now, json.dumps(list(targets))))
            for number, target, attempts, claim, claimed, *alert, added in rows:
                if claim is None or claimed < now - CLAIM_SECONDS or self._is_gone(claim):
                    mine = "UPDATE deliveries SET claim = ?, claimed = ? WHERE id = ?"
                    database.execute(mine, (self._process(), now, number))
                    return Delivery(number, target, Alert(*alert), added, attempts)
        return None

    def delivered(self, delivery: Delivery) -> None:
        """Note that the target has it."""
        with self._transaction() as database:
            database.execute("UPDATE deliveries SET state = 'delivered', claim = NULL WHERE id = ?", (delivery.id,))

    def failed(self, delivery: Delivery, now: float) -> bool:
        """Note that it could not be sent; it will be due again after a pause that grows, for a day.

        Returns:
            Whether it is tried again.
        """
        pause = min(_FIRST_PAUSE * 2 ** min(delivery.attempts, 20), _LONGEST_PAUSE) * random.uniform(0.75, 1.25)  # noqa: S311
        again = now + pause <= delivery.added + GIVE_UP_SECONDS
        with self._transaction() as database:
            database.execute(
                "UPDATE deliveries SET state = ?, attempts = attempts + 1, due = ?, claim = NULL WHERE id = ?",
                ("pending" if again else "given up", now + pause, delivery.id),
            )
        return again

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mknod(self._path, 0o600)  # not os.open: closing a descriptor drops the locks of SQLite in this process
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


def _hand_over(database: sqlite3.Connection, targets: Sequence[str]) -> None:
    """Give what waits for a target that is configured no more to the new ones: its password was changed, say."""
    known = {row[0] for row in database.execute("SELECT DISTINCT target FROM deliveries")}
    new = [target for target in targets if target not in known]
    gone = known - set(targets)
    if not new or not gone:
        return
    old = json.dumps(sorted(gone))
    waiting = "state = 'pending' AND target IN (SELECT value FROM json_each(?))"
    for target in new:
        database.execute(
            "INSERT INTO deliveries (alert, target, due)"  # noqa: S608  # no value is in the text
            f" SELECT DISTINCT alert, ?, 0 FROM deliveries WHERE {waiting}",
            (target, old),
        )
    database.execute(f"UPDATE deliveries SET state = 'handed over' WHERE {waiting}", (old,))  # noqa: S608
