"""Whole processes, cold: how long they take and how much memory they need.

This process must stay small: a child's peak memory starts at that of the process that started it (Linux keeps the
high-water mark over ``exec``). So nothing here imports pandas, Arrow or the product.
"""

from __future__ import annotations

import compileall
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
PRODUCT = str(Path(sys.executable).with_name("mlops-assets"))

_NOT_INHERITED = ("MLOPS_", "MLFLOW_", "DAGSTER_", "PYTHON")
_PACKAGES = ("dagster", "mlflow", "scikit-learn", "pandas", "pyarrow", "numpy", "skops")
_MESSAGE_BYTES = 4_000


class BenchmarkError(Exception):
    """What was measured did not do its work."""


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        wall: Seconds from start to exit.
        cpu: Seconds of processor time, user and system.
        rss_mb: Peak resident memory in MB (10^6 bytes) of the largest process.
        output: Standard output.
    """

    wall: float
    cpu: float
    rss_mb: float
    output: str = ""


def measure(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Usage:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        folder: Where it runs; made if missing.
        env: The whole environment, see :func:`environment`.

    Raises:
        BenchmarkError: It failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            message = err.read().decode(errors="replace")[-_MESSAGE_BYTES:]
            raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}:\n{message}")
        return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, out.read().decode())


def environment(threads: int, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The children's environment: this one without settings of the product and without Python's switches.

    ``PYTHONDONTWRITEBYTECODE`` is among these: see :func:`compile_bytecode`.

    Args:
        threads: For OpenMP (gradient boosting), on both sides; 0: as the libraries choose.
        settings: ``MLOPS_…`` of the product.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return {**kept, **limit, "PYTHONPATH": str(ROOT), **(settings or {})}


def compile_bytecode() -> None:
    """Compile what ``make install`` leaves to be compiled: the editable package, and this one."""
    for name in ("mlops_assets", "benchmarks"):
        compileall.compile_dir(ROOT / name, quiet=1)


def machine() -> dict[str, str]:
    """What the figures depend on."""
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    packages = " ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu_model(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB",
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
        "load before": load,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
