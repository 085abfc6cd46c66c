"""MLflow's module-level state (tracking URI, active run). Our own code never uses it; dagster-mlflow does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_EXPORTED = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")


@contextmanager
def fluent_state_restored() -> Iterator[None]:
    """Put MLflow's global tracking URI, and the environment variables that MLflow sets, back afterwards."""
    before = {name: os.environ.get(name) for name in _EXPORTED}
    try:
        yield
    finally:
        import mlflow

        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # as MLflow does itself; unsets the variable
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def end_active_run(status: str) -> None:
    """End the active run, if there is one, as ``FINISHED``, ``FAILED`` or ``KILLED``."""
    import mlflow

    mlflow.end_run(status)
