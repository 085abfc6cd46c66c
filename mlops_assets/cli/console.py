"""Output of the commands: text for people on one console, JSON for programs on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

FAILED, MISUSE, STOPPED = 1, 2, 130
"""Exit codes; 0 is done."""

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def fail(message: str, code: int = FAILED) -> typer.Exit:
    """Print an error; raise what this returns."""
    errors.print("error:", style="bold red", end=" ")
    errors.print(message, markup=False, soft_wrap=True)
    return typer.Exit(code)


def print_json(content: Any) -> None:
    """Print JSON to standard output."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, default=str))


@contextmanager
def progress(total: int, *, hidden: bool = False) -> Iterator[Progress]:
    """A progress bar on standard error with one task; it vanishes when done."""
    with _real_standard_error() as console, _bar(console, hidden=hidden) as bar:
        bar.add_task(f"Dagster plans {total:,} partitions", total=total)
        yield bar


@contextmanager
def _real_standard_error() -> Iterator[Console]:
    """A console on what is standard error now: Dagster puts a file in its place while a run goes on."""
    try:
        terminal = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # a test's, without a descriptor
        yield errors
        return
    with os.fdopen(terminal, "w") as file:
        yield Console(file=file, highlight=False)


def _bar(console: Console, *, hidden: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=hidden,
        redirect_stdout=False,
        redirect_stderr=False,
    )
