"""The model server's address and limits, as a user sets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_assets.declared import setting


def _field(default: Any, name: str, description: str, **more: Any) -> Any:
    return setting(default, description, name=f"serve_{name}", **more)


@dataclass(frozen=True)
class ServingConfig:
    """Where the model server listens, whom it answers and how much it takes."""

    host: str = _field("127.0.0.1", "host", "Address that the model server listens on.", min_length=1)
    port: int = _field(5001, "port", "Port of the model server; 0: a free one.", ge=0, le=65_535)
    token: str = _field(
        "",
        "token",
        "What requests to the model server must bring as `Authorization: Bearer …`. Default: none is asked for.",
        secret=True,
    )
    poll_seconds: float = _field(
        2.0, "poll_seconds", "Seconds between two looks at which version is in production.", ge=0.05, le=3_600
    )
    max_megabytes: int = _field(64, "max_megabytes", "Largest body of a request, in MB (10^6 bytes).", ge=1, le=4_096)
    max_requests: int = _field(
        64, "max_requests", "Requests that are worked on or wait at a time; more are refused (503).", ge=1, le=10_000
    )
    timeout_seconds: float = _field(
        30.0,
        "timeout_seconds",
        "Seconds that a request may take from its first byte to its answer (504 after that), and that requests have"
        " when the server is stopped.",
        gt=0,
        le=3_600,
    )
