"""Why a run failed, as a message for the user; and other facts from its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo

INTERRUPTED = "interrupted; finished days are kept and skipped when you start it again"
"""The message of a step that was stopped."""

MLFLOW_RUN_URL_TAG = "mlops_assets/mlflow_run_url"
"""Run tag: where MLflow shows the run that belongs to this Dagster run."""


def message_of_step(event: dg.DagsterEvent) -> str:
    """The message of a step's failure."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    return root_message(data.error)


def root_message(error: SerializableErrorInfo | None) -> str:
    """The message for the user in a chain of errors: our own, else the one at the bottom."""
    if error is None:
        return "failed without a message"
    while True:
        # Dagster puts the class in front, with its module.
        name, _, message = error.message.strip().partition(": ")
        if name.startswith("mlops_assets."):
            return message
        if error.cause is None:
            return INTERRUPTED if "Interrupted" in name or name == "KeyboardInterrupt" else error.message.strip()
        error = error.cause


def partitions_of(tags: Mapping[str, str]) -> str:
    """The day of a run, or its first and last day; empty if it has none."""
    if day := tags.get(PARTITION_TAG):
        return day
    return f"{tags[RANGE_START_TAG]} … {tags[RANGE_END_TAG]}" if RANGE_START_TAG in tags else ""
