"""The labels of our containers, for people (``docker ps --filter label=…``) and for the clean-up."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_assets.backends.process_id import process_tag

_PREFIX = "io.mlops-assets."
RUN_ID = _PREFIX + "run_id"
STEP = _PREFIX + "step"
PARTITIONS = _PREFIX + "partitions"
PROCESS = _PREFIX + "process"


def labels(run_id: str, step: str, partitions: Sequence[str]) -> dict[str, str]:
    """Of the container that runs a step for these partitions in a Dagster run."""
    keys = sorted(partitions)
    span = "" if not keys else keys[0] if len(keys) == 1 else f"{keys[0]}..{keys[-1]} ({len(keys)})"
    return {RUN_ID: run_id, STEP: step, PARTITIONS: span, PROCESS: process_tag()}
