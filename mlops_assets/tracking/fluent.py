"""MLflow's module-level state (tracking URI, active run). Our own code never uses it; dagster-mlflow does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRACKING_URI = "MLFLOW_TRACKING_URI"


@contextmanager
def fluent_state_restored() -> Iterator[None]:
    """Put MLflow's global tracking URI, and the environment variable that it sets, back afterwards."""
    before = os.environ.get(_TRACKING_URI)
    try:
        yield
    finally:
        import mlflow

        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # as MLflow does itself; unsets the variable
        if before is not None:
            os.environ[_TRACKING_URI] = before


def end_active_run(status: str) -> None:
    """End the active run, if there is one, as ``FINISHED``, ``FAILED`` or ``KILLED``."""
    import mlflow

    mlflow.end_run(status)
