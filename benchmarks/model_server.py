"""Measure the model server against ``mlflow models serve`` of the same model: ``python -m benchmarks.model_server``.

Both are whole processes on this machine, one after the other, and the clients run beside them on the same cores. The
clients write bytes that were made before and read the answer: they take little of the processors' time. A request of
one row goes round after round from 8 clients at once; one of 100,000 rows x 20 columns goes alone. The model is that of
a generated day: numbers, words, a date. Exit code: 0 all targets met, 1 some missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.measure import PRODUCT, PYTHON, BenchmarkError, Usage, compile_bytecode, environment, measure
from benchmarks.report import Comparison, Goal, show

DAY = "2026-01-01"
MODEL = "mlops-assets"
CLIENTS = 8
ROWS = 100_000
_SECONDS_TO_START = 120
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Served:
    """What clients saw of a server.

    Attributes:
        one_row: Seconds of each request of one row.
        many_rows: Seconds of each request of many rows.
        cpu: The server's processor time for a request of one row, in seconds.
        usage: Of the server's process, over all.
    """

    one_row: Sequence[float]
    many_rows: Sequence[float]
    cpu: float
    usage: Usage


def main() -> int:
    """Measure and report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each (default 3)")
    parser.add_argument("--requests", type=int, default=500, help="of each client in a run (default 500)")
    options = parser.parse_args()
    compile_bytecode()
    console = Console(width=120)
    try:
        with tempfile.TemporaryDirectory(prefix="mlops-assets-bench-") as folder:
            done = _compared(Path(folder), options.runs, options.requests)
    except BenchmarkError as error:
        console.print(str(error), markup=False, highlight=False)
        return 1
    show(done, console)
    console.print(f"load after: {' '.join(f'{one:.2f}' for one in os.getloadavg())}", highlight=False)
    return 0 if all(goal.met for goal in done.goals) else 1


def _compared(folder: Path, runs: int, requests: int) -> Comparison:
    one, many = _bodies(folder)
    found: dict[str, list[Served]] = {"product": [], "mlflow models serve": []}
    for _ in range(runs):
        for name, served in found.items():
            served.append(_served(name, folder, one, many, requests))
    product, mlflow = found.values()
    goals = [
        Goal("one row, median", [_percentile(run.one_row, 50) * 1e3 for run in product], 10, " ms"),
        Goal("one row, 99th percentile", [_percentile(run.one_row, 99) * 1e3 for run in product], 50, " ms"),
        Goal(f"{ROWS:,} rows", [min(run.many_rows) for run in product], 1, " s"),
        Goal("the server's processor time for one row", [run.cpu * 1e3 for run in product], None, " ms"),
        *(
            Goal(f"product / mlflow, {what}", [of(a) / of(b) for a, b in zip(product, mlflow, strict=True)], 1)
            for what, of in {
                "one row, median": lambda run: _percentile(run.one_row, 50),
                "one row, 99th percentile": lambda run: _percentile(run.one_row, 99),
                "one row, processor time": lambda run: run.cpu,
                f"{ROWS:,} rows": lambda run: min(run.many_rows),
            }.items()
        ),
    ]
    runs_shown = {name: [run.usage for run in served] for name, served in found.items()}
    return Comparison("model_server", runs_shown, goals, [f"{CLIENTS} clients, {requests} requests each"])


def _bodies(folder: Path) -> tuple[bytes, bytes]:
    """Train a model; give requests of one row and of many."""
    settings = {"MLOPS_START_DATE": DAY, "MLOPS_ROWS_PER_DAY": "10000"}
    measure([PRODUCT, "materialize", "--partition", DAY], folder, environment(1, settings))
    example = json.loads((folder / "data" / "models" / DAY / "model.json").read_text())["example"]
    made = [PYTHON, "-m", "benchmarks.many_rows", str(folder / "data" / "raw" / DAY / "data.csv"), str(ROWS)]
    many = measure([*made, ",".join(example["columns"])], folder, environment(1)).output.encode()
    return json.dumps({"dataframe_split": {**example, "data": example["data"][:1]}}).encode(), many


def _served(name: str, folder: Path, one: bytes, many: bytes, requests: int) -> Served:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if name == "product":
        command, more = [PRODUCT, "serve", "--port", str(port)], {"MLOPS_START_DATE": DAY}
    else:
        uri = f"models:/{MODEL}/1"
        command = [PYTHON, "-m", "mlflow", "models", "serve", "-m", uri, "-p", str(port), "--env-manager", "local"]
        more = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/.mlops/mlflow/mlflow.db",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true",
            "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}",  # it starts uvicorn by name
        }
    with _running(command, folder, {**environment(0), **more}, port) as process:
        _clients(port, one, 20)  # until everything is imported
        before, began = _cpu(process), time.perf_counter()
        one_row = _clients(port, one, requests)
        cpu = (_cpu(process) - before) / len(one_row)
        many_rows = [_timed(port, many, 1)[0] for _ in range(3)]
        usage = Usage(time.perf_counter() - began, _cpu(process) - before, _memory(process))
    return Served(one_row, many_rows, cpu, usage)


def _clients(port: int, body: bytes, requests: int) -> list[float]:
    """Seconds of each request of all clients."""
    found: list[list[float]] = []
    threads = [threading.Thread(target=lambda: found.append(_timed(port, body, requests))) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < CLIENTS:
        raise BenchmarkError("a client failed; its message is above")
    return [seconds for client in found for seconds in client]


def _timed(port: int, body: bytes, requests: int) -> list[float]:
    """Seconds of each request over one connection."""
    head = ("POST /invocations HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}")
    message, seconds = "\r\n".join([*head, "", ""]).encode() + body, []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests):
            began = time.perf_counter()
            connection.sendall(message)
            _read_answer(connection)
            seconds.append(time.perf_counter() - began)
    return seconds


def _read_answer(connection: socket.socket) -> None:
    head, _, body = (data := connection.recv(1 << 20)).partition(b"\r\n\r\n")
    while not body and b"\r\n\r\n" not in data:
        data += connection.recv(1 << 20)
        head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchmarkError(f"the server answers {data[:500]!r}")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    size = len(body)
    while size < length:
        size += len(connection.recv(1 << 20))


@contextmanager
def _running(command: Sequence[str], folder: Path, env: Mapping[str, str], port: int) -> Iterator[int]:
    """A server; gives the id of the process that answers."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=folder, env=dict(env), stdout=log, stderr=log, start_new_session=True)
        try:
            end = time.monotonic() + _SECONDS_TO_START
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise BenchmarkError(f"{' '.join(command)} does not answer:\n{log.read().decode()[-4_000:]}")
                time.sleep(0.2)
            yield _last_child(process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _last_child(process: int) -> int:
    """``mlflow models serve`` starts its server as a process of its own."""
    while children := Path(f"/proc/{process}/task/{process}/children").read_text().split():
        process = int(children[0])
    return process


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE / 1e6


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    sys.exit(main())
