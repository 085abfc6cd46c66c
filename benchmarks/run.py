"""Measure the product against the plain script: ``python -m benchmarks.run [NAME…]``.

Every run is a whole process in a fresh folder, so imports, new databases and all files count. Product and plain take
turns (A B A B …), because the machine is not equally fast all the time; the ratio of a pair is what is judged, and the
first pair only warms up the disk cache. Bytecode is compiled before: ``make install`` does that for a user, and a
``PYTHONDONTWRITEBYTECODE`` of this shell does not reach the runs. Exit code: 0 all targets met, 1 some missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.delivered import write_days
from benchmarks.measure import (
    PRODUCT,
    PYTHON,
    ROOT,
    BenchmarkError,
    Usage,
    compile_bytecode,
    environment,
    machine,
    measure,
)
from benchmarks.report import Comparison, Goal, as_json, ratios, show
from mlops_assets import __version__

START = dt.date(2026, 1, 1)
GIGABYTE = 2**30
CACHE = Path(tempfile.gettempdir()) / "mlops-assets-benchmarks"
_HEAVY = ("mlflow", "sklearn", "pandas")
_IMPORTED = f"import sys, mlops_assets.definitions; print(*[name for name in {_HEAVY} if name in sys.modules])"


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        runs: Counted runs of each.
        threads: For OpenMP; 0: as the libraries choose.
    """

    runs: int
    threads: int

    def environment(self, **settings: object) -> dict[str, str]:
        """The environment of a run; settings without their prefix."""
        given = {f"MLOPS_{name.upper()}": str(value) for name, value in settings.items()}
        return environment(self.threads, {"MLOPS_START_DATE": START.isoformat(), **given})


Run = Callable[[Path], Usage]


def thirty_days(options: Options) -> Comparison:
    """30 days of 10,000 rows in one go: delivered floats with all their digits."""
    return _against_plain("thirty_days", options, days=30, rows=10_000, target=0.45, delivered=True)


def million_rows(options: Options) -> Comparison:
    """One day of 1,000,000 rows: delivered floats with all their digits."""
    return _against_plain("million_rows", options, days=1, rows=1_000_000, target=0.45, delivered=True)


def thirty_days_mixed(options: Options) -> Comparison:
    """As ``thirty_days`` with the generated data: short numbers, words, dates."""
    return _against_plain("thirty_days_mixed", options, days=30, rows=10_000, target=0.6)


def million_rows_mixed(options: Options) -> Comparison:
    """As ``million_rows`` with the generated data: short numbers, words, dates."""
    return _against_plain("million_rows_mixed", options, days=1, rows=1_000_000, target=0.6)


def one_day_cold(options: Options) -> Comparison:
    """One day of 10,000 rows: the first ever, and one more where the databases exist."""

    def later(folder: Path) -> Usage:
        _product(options, 10_000, START, START)(folder)
        return _product(options, 10_000, _day(1), _day(1))(folder)

    runs = _in_turn(
        options,
        {
            "product, first day": _product(options, 10_000, START, START),
            "product, a later day": later,
            "plain": _plain(options, 1, 10_000),
        },
    )
    first, following, plain = runs.values()
    goals = [*ratios(first, plain, 1.8, "first day / plain"), *ratios(following, plain, 1.6, "later day / plain")]
    return Comparison("one_day_cold", runs, goals)


def docker_one_day(options: Options) -> Comparison:
    """One day of 10,000 rows in containers, through Dagster and by a shell script: the first ever, and one more."""
    bare = _bare_docker(options)

    def later(folder: Path, run: Callable[[Path, int], Usage]) -> Usage:
        run(folder, 0)
        return run(folder, 1)

    def ours(folder: Path, number: int) -> Usage:
        return _product(options, 10_000, _day(number), _day(number), delivered=True, backend="docker")(folder)

    runs = _in_turn(
        options,
        {
            "product, first day": lambda folder: ours(folder, 0),
            "bare docker, first day": lambda folder: bare(folder, 0),
            "product, a later day": lambda folder: later(folder, ours),
            "bare docker, a later day": lambda folder: later(folder, bare),
        },
    )
    first, bare_first, following, bare_following = runs.values()
    goals = [
        *ratios(first, bare_first, 0.65, "first day / bare docker"),
        *ratios(following, bare_following, 0.65, "later day / bare docker"),
    ]
    return Comparison("docker_one_day", runs, [goal for goal in goals if goal.target])


def docker_thirty_days(options: Options) -> Comparison:
    """30 days of 10,000 rows in containers, against one day of a shell script."""
    bare = _bare_docker(options)
    ours = _product(options, 10_000, START, _day(29), delivered=True, backend="docker")
    runs = _in_turn(options, {"30 days": ours, "bare docker, one day": lambda folder: bare(folder, 0)})
    month, day = runs.values()
    goals = ratios(month, day, 1.5, "30 days / one day of bare docker")
    return Comparison("docker_thirty_days", runs, [goal for goal in goals if goal.target])


def import_definitions(options: Options) -> Comparison:
    """What showing the asset graph costs over ``import dagster``."""
    env = options.environment()
    runs = _in_turn(
        options,
        {
            "import mlops_assets.definitions": lambda folder: measure([PYTHON, "-c", _IMPORTED], folder, env),
            "import dagster": lambda folder: measure([PYTHON, "-c", "import dagster"], folder, env),
        },
    )
    ours, dagster = runs.values()
    heavy = sorted({name for run in ours for name in run.output.split()})
    goals = [
        Goal("over import dagster, wall", [a.wall - b.wall for a, b in zip(ours, dagster, strict=True)], 0.3, " s"),
        Goal("over import dagster, cpu", [a.cpu - b.cpu for a, b in zip(ours, dagster, strict=True)], None, " s"),
        Goal(f"of {', '.join(_HEAVY)} imported", [len(heavy)], 0),
    ]
    return Comparison("import_definitions", runs, goals, [f"imported: {', '.join(heavy) or 'none of them'}"])


def score_1gb(options: Options) -> Comparison:
    """Register and score a delivered CSV of 1 GB with a model of an earlier, small day."""
    data = CACHE / "data-1gb.csv"
    if not data.exists():
        measure([PYTHON, "-m", "benchmarks.big_file", str(data), str(GIGABYTE)], CACHE, options.environment())
    files = options.environment(source="files")
    day = _day(1).isoformat()
    with _scratch() as folder:
        _product(options, 10_000, START, START)(folder)
        raw = folder / "data" / "raw" / day
        raw.mkdir(parents=True)
        _link(data, raw / "data.csv")

        def command(*arguments: str) -> list[Usage]:
            return [measure([*arguments, "--partition", day], folder, files)]

        runs = {
            "materialize raw_data": command(PRODUCT, "materialize", "raw_data"),
            "materialize predictions": command(PRODUCT, "materialize", "predictions"),
            "steps predict": command(PYTHON, "-m", "mlops_assets.runtime", "predict"),
        }
        scored = (folder / "data" / "predictions" / day / "predictions.csv").stat().st_size
    goals = [
        Goal(f"{name}, peak memory", [run.rss_mb for run in measured], None if "raw" in name else 600, " MB")
        for name, measured in runs.items()
    ]
    return Comparison("score_1gb", runs, goals, [f"predictions.csv has {scored / 1e6:.0f} MB; one run, no warm-up"])


COMPARISONS = {
    one.__name__: one
    for one in (
        thirty_days,
        thirty_days_mixed,
        million_rows,
        million_rows_mixed,
        one_day_cold,
        docker_one_day,
        docker_thirty_days,
        import_definitions,
        score_1gb,
    )
}


def main() -> int:
    """Measure and report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of: {', '.join(COMPARISONS)}")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="OMP_NUM_THREADS of both sides; 0: not set (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    if unknown := set(options.names) - set(COMPARISONS):
        parser.error(f"no such comparison: {', '.join(sorted(unknown))}. There are: {', '.join(COMPARISONS)}")
    if options.runs < 1:
        parser.error("--runs is less than 1")
    compile_bytecode()
    facts, done = machine(), []
    console = Console(stderr=options.json, width=120)
    console.print("\n".join(f"{name}: {value}" for name, value in facts.items()) + "\n", highlight=False)
    try:
        for name in options.names or COMPARISONS:
            done.append(COMPARISONS[name](Options(options.runs, options.threads)))
            show(done[-1], console)
    except BenchmarkError as error:
        console.print(str(error), markup=False, highlight=False)
        return 1
    console.print(f"load after: {' '.join(f'{one:.2f}' for one in os.getloadavg())}", highlight=False)
    if options.json:
        print(json.dumps({"machine": facts, "comparisons": [as_json(one) for one in done]}, indent=1))
    return 0 if all(goal.met for one in done for goal in one.goals) else 1


def _against_plain(
    name: str, options: Options, *, days: int, rows: int, target: float, delivered: bool = False
) -> Comparison:
    product = _product(options, rows, START, _day(days - 1), delivered=delivered)
    runs = _in_turn(options, {"product": product, "plain": _plain(options, days, rows, delivered=delivered)})
    return Comparison(name, runs, ratios(runs["product"], runs["plain"], target))


def _in_turn(options: Options, runs: Mapping[str, Run]) -> dict[str, list[Usage]]:
    """Each in turn, in folders of their own; the first turn does not count."""
    counted: dict[str, list[Usage]] = {name: [] for name in runs}
    for turn in range(options.runs + 1):
        for name, run in runs.items():
            with _scratch() as folder:
                usage = run(folder)
            if turn:
                counted[name].append(usage)
    return counted


def _product(
    options: Options,
    rows: int,
    first: dt.date,
    last: dt.date,
    *,
    delivered: bool = False,
    backend: str = "inprocess",
) -> Run:
    """All seven assets, by the command line."""
    source = "files" if delivered else "classification"
    env = options.environment(rows_per_day=rows, source=source, backend=backend)
    days = ["--partition", str(first)] if first == last else ["--from", str(first), "--to", str(last)]

    def run(folder: Path) -> Usage:
        shutil.copy(ROOT / "dagster.yaml", folder)
        if delivered:
            write_days(folder / "data", first, (last - first).days + 1, rows)
        usage = measure([PRODUCT, "materialize", *days], folder, env)
        _check(folder / "data", last)
        return usage

    return run


def _bare_docker(options: Options) -> Callable[[Path, int], Usage]:
    """A day, by its number, in containers that a shell script starts."""

    def run(folder: Path, number: int) -> Usage:
        write_days(folder / "data", _day(number), 1, 10_000)
        script = str(ROOT / "benchmarks" / "bare_docker.sh")
        usage = measure([script, str(folder), str(_day(number)), __version__], folder, options.environment())
        _check(folder / "data", _day(number))
        return usage

    return run


def _plain(options: Options, days: int, rows: int, *, delivered: bool = False) -> Run:
    command = [PYTHON, "-m", "benchmarks.plain", "--days", str(days), "--rows", str(rows), "--start", str(START)]

    def run(folder: Path) -> Usage:
        if delivered:
            write_days(folder / "data", START, days, rows)
        extra = ["--delivered"] if delivered else []
        usage = measure([*command, "--dir", "data", *extra], folder, options.environment())
        _check(folder / "data", _day(days - 1))
        return usage

    return run


def _check(root: Path, last: dt.date) -> None:
    if not (root / "predictions" / str(last) / "predictions.csv").is_file():
        raise BenchmarkError(f"{root} has no predictions of {last}")


def _day(number: int) -> dt.date:
    return START + dt.timedelta(days=number)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy(source, place)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mlops-assets-bench-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
