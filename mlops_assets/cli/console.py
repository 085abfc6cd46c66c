"""Output of the commands: text for people on one console, JSON for programs on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

FAILED, MISUSE, STOPPED = 1, 2, 130
"""Exit codes; 0 is done."""

_FIRST_LINE_SECONDS, _LONGEST_PAUSE_SECONDS = 10.0, 30.0

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


class Advance:
    """How far a command is: a bar on a terminal; elsewhere, such as in a log, a line now and then."""

    def __init__(self, bar: Progress, total: int, *, hidden: bool) -> None:
        """Nothing is done yet of ``total``."""
        self._bar, self._task = bar, bar.add_task("starting", total=total)
        self._has_lines = not (hidden or bar.console.is_terminal)
        self._pause = _FIRST_LINE_SECONDS
        self._due = time.monotonic() + self._pause

    def __call__(self, text: str, completed: int) -> None:
        """Show what is being done, and how much has been."""
        self._bar.update(self._task, description=text, completed=completed)
        if self._has_lines and time.monotonic() >= self._due:
            self._bar.console.print(f"{self._bar.tasks[0].percentage:.0f}% {text}", soft_wrap=True, markup=False)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._due = time.monotonic() + self._pause


@contextmanager
def progress(total: int, *, hidden: bool = False) -> Iterator[Advance]:
    """Shows progress on standard error; a bar vanishes when done."""
    with _real_standard_error() as console, _bar(console, hidden=hidden) as bar:
        yield Advance(bar, total, hidden=hidden)


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
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    )
