"""A real ``dagster-daemon`` for tests: started in a folder of its own, killed with all that it started, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import yaml

ROOT = Path(__file__).parent.parent
LOCATION = "mlops_assets.definitions"
_PLACES = ("storage", "local_artifact_storage", "compute_logs")

_LAUNCH = """
mutation Launch($runs: [ExecutionParams!]!) {
  launchMultipleRuns(executionParamsList: $runs) {
    ... on LaunchMultipleRunsResult { launchMultipleRunsResult {
      __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    } }
    ... on PythonError { message }
  }
}
"""

T = TypeVar("T")


def write_config(home: Path, changes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """The project's ``dagster.yaml`` in a folder that keeps all of Dagster's files; changes go one level deep."""
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    config = {name: value for name, value in config.items() if name not in _PLACES}
    for name, change in (changes or {}).items():
        config[name] = {**config.get(name, {}), **change}
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def wait_until(predicate: Callable[[], T], seconds: float = 120, what: str = "what is waited for") -> T:
    """The predicate's first true value."""
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)
    return value


class Daemon:
    """``dagster-daemon run`` with everything below it: a session of its own, so that all of its processes can be found.

    Use it as a context manager: at the end all its processes are gone, whatever happened.
    """

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        location: str = LOCATION,
        **environment: object,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: Where the data root (``data``) and the hidden folder (``.mlops``) go.
            changes: To the project's ``dagster.yaml``.
            location: The module with the definitions.
            environment: Settings as they are called in the environment.
        """
        self.folder, self.home, self.location = folder, folder / ".mlops" / "dagster", location
        self.log = folder / "daemon.log"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DAGSTER_HOME": str(self.home),
            **{name: str(value) for name, value in environment.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        write_config(self.home, changes)
        with self.instance():
            pass  # makes its databases, which two processes must not do at the same time

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; it takes some seconds until it works."""
        assert self._process is None
        # Where SIGINT is ignored, as in a shell's background, Dagster ignores SIGTERM, too.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-m", self.location],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        signal.signal(signal.SIGINT, before)

    def stop(self, seconds: float = 30) -> None:
        """End it in good order; runs that are at work are given no more than the time."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(seconds)
            finally:
                self.kill()

    def kill(self) -> None:
        """``kill -9`` for it, its code servers and its runs, at once."""
        if self._process is not None:
            while processes := self.processes():
                for pid in processes:
                    _kill(pid)
                self._process.poll()
                time.sleep(0.05)
            self._process.wait()
            self._process = None

    def processes(self) -> list[int]:
        """All of its processes that live."""
        assert self._process is not None
        return [pid for pid in _pids() if _session(pid) == self._process.pid]

    def instance(self) -> dg.DagsterInstance:
        """Its instance, for a ``with`` statement."""
        return dg.DagsterInstance.from_config(str(self.home))

    def launch(self, *runs: Mapping[str, Any]) -> list[str]:
        """Put runs into the queue, as the UI does.

        Args:
            runs: Of each the arguments of :func:`run_of`, as a mapping.

        Returns:
            Their ids.
        """
        answer = self.graphql(_LAUNCH, {"runs": [run_of(location=self.location, **run) for run in runs]})
        return [result["run"]["runId"] for result in answer["launchMultipleRuns"]["launchMultipleRunsResult"]]

    def graphql(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask GraphQL, as the UI does; gives ``data`` of the answer."""
        answer = self.folder / "answer.json"
        arguments = ["-m", self.location, "-t", query, "-v", json.dumps(variables), "--output", str(answer)]
        done = subprocess.run(
            [sys.executable, "-c", "from dagster_graphql.cli import main; main()", *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(answer.read_text(encoding="utf-8"))["data"]


def run_of(
    job: str = "__ASSET_JOB",
    assets: Sequence[str] = (),
    partition: str | None = None,
    tags: Mapping[str, str] | None = None,
    location: str = LOCATION,
) -> dict[str, Any]:
    """GraphQL's ``ExecutionParams`` for a run of a job, or of some assets."""
    selector = {"repositoryLocationName": location, "repositoryName": "__repository__", "jobName": job}
    chosen = {"assetSelection": [{"path": [name]} for name in assets]} if assets else {}
    all_tags = {**({"dagster/partition": partition} if partition else {}), **(tags or {})}
    return {
        "selector": {**selector, **chosen},
        "executionMetadata": {"tags": [{"key": name, "value": text} for name, text in all_tags.items()]},
        "runConfigData": {},
    }


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _session(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[3])


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
