"""The labels by which our containers are known, to people (``docker ps --filter label=…``) and to the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_assets.backends.process_id import process_tag

_PREFIX = "io.mlops-assets."
RUN_ID = _PREFIX + "run_id"
ASSET = _PREFIX + "asset"
PARTITIONS = _PREFIX + "partitions"
PROCESS = _PREFIX + "process"


def labels(run_id: str, asset: str, partitions: Sequence[str]) -> dict[str, str]:
    """Of the container that makes these days of an asset for a Dagster run."""
    days = sorted(partitions)
    span = "" if not days else days[0] if len(days) == 1 else f"{days[0]}..{days[-1]} ({len(days)})"
    return {RUN_ID: run_id, ASSET: asset, PARTITIONS: span, PROCESS: process_tag()}
