"""How long a sensor's look takes over ten years of days: ``python -m benchmarks.ten_years``."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from pathlib import Path

import dagster as dg

from mlops_assets.automation.config import DAILY_JOBS, AutomationConfig
from mlops_assets.automation.due_days import DueDays
from mlops_assets.automation.launcher import Launcher
from mlops_assets.names import Names
from mlops_assets.store.listing import Survey
from mlops_assets.store.local import LocalStore
from mlops_assets.store.manifest import FileInfo, Manifest

DAYS = 3_650
SUNDAY = 6
NAMES = ("data.csv", "target.csv")
CONTENT = b"id\n1\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COLUMNS = {f"x{k}": "double" for k in range(20)}


def main() -> None:
    """Print a line for each job: the first look of a process, and one after it."""
    start = dt.date.today() - dt.timedelta(days=DAYS)  # noqa: DTZ011
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        store = LocalStore(folder)
        days = [(start + dt.timedelta(days=one)).isoformat() for one in range(DAYS)]
        for ds in days:
            _deliver(store, ds)
        time.sleep(3)  # what was delivered just before it was registered is read again to be sure
        for ds in days:
            _publish(store, ds, is_trained=dt.date.fromisoformat(ds).weekday() == SUNDAY)
        config = AutomationConfig(start_date=start.isoformat())
        launcher = Launcher(config, DueDays(Survey(store), config, delivered=True, delimiter=","), Names())
        for job in DAILY_JOBS:
            times = []
            for _ in range(3):
                began = time.perf_counter()
                now = dt.datetime.now(dt.timezone.utc)
                decision = launcher.decide(instance, job, launcher.calendars[job].days(now), now, {})
                times.append(time.perf_counter() - began)
            assert not decision.start
            print(f"{job}: first look {times[0]:.2f} s, later looks {min(times[1:]):.2f} s, {DAYS:,} days")


def _deliver(store: LocalStore, ds: str) -> None:
    for name in NAMES:
        _path(store, "raw_data", ds, name).write_bytes(CONTENT)


def _publish(store: LocalStore, ds: str, *, is_trained: bool) -> None:
    files = tuple(FileInfo(name, DIGEST, len(CONTENT), 1, COLUMNS, ",") for name in NAMES)
    inputs = {f"raw/{ds}/{name}": DIGEST for name in NAMES}
    training = {"processed": inputs, "metrics": {}} if is_trained else {}
    for asset, used in {
        "raw_data": {},
        **training,
        "predictions": {f"raw/{ds}/data.csv": DIGEST},
    }.items():
        manifest = Manifest(asset, ds, files, inputs=used)
        _path(store, asset, ds, f"{asset}.manifest.json").write_text(manifest.to_json())


def _path(store: LocalStore, asset: str, ds: str, name: str) -> Path:
    folder = store.folder(asset, ds)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


if __name__ == "__main__":
    main()
