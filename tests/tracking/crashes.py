"""MLflow's client dies at a chosen call, as when the process is killed there."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient


class Crash(BaseException):
    """Stands for a kill: no later call gets through either."""


@contextmanager
def dying_at(nth: int) -> Iterator[list[str]]:
    """Let MLflow's client die at its nth call, and at every call after that; gives the names of the calls."""
    calls: list[str] = []
    depth = 0

    def dying(name, real):
        def call(self, *args, **options):
            nonlocal depth
            if depth == 0:
                calls.append(name)
                if len(calls) >= nth:
                    raise Crash(name)
            depth += 1
            try:
                return real(self, *args, **options)
            finally:
                depth -= 1

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, real in vars(MlflowClient).items():
            if inspect.isfunction(real) and not name.startswith("_"):
                patch.setattr(MlflowClient, name, dying(name, real))
        yield calls
