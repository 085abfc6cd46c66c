"""What Prometheus is shown of the model server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from mlops_assets.serving.following import Following

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server."""

    def __init__(self, following: Following, running: Callable[[], int]) -> None:
        """Start at zero."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        name = "mlops_serve"
        self.requests = Counter(f"{name}_requests", "Requests to /invocations.", ["status"], registry=registry)
        self.seconds = Histogram(
            f"{name}_request_seconds", "From the head of a request to its answer.", buckets=_SECONDS, registry=registry
        )
        self.rows = Counter(f"{name}_rows", "Rows that were scored.", ["version"], registry=registry)
        now = Gauge(f"{name}_requests_running", "Requests that are worked on or wait.", registry=registry)
        now.set_function(running)
        version = Gauge(f"{name}_model_version", "The version that serves; 0: none.", registry=registry)
        version.set_function(lambda: following.model.number if following.model else 0)
        problem = Gauge(f"{name}_problem", "1: /health names a problem.", registry=registry)
        problem.set_function(lambda: int(bool(following.problem)))
        failures = Gauge(f"{name}_load_failures", "Attempts to load a version that failed.", registry=registry)
        failures.set_function(lambda: following.failures)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)
