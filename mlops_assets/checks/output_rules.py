"""The rules of the checks of what is made of raw data; see :mod:`mlops_assets.checks.raw_data_rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_assets.checks.raw_data_rules import NOT_REPORTED, CheckLimits, Finding
from mlops_assets.checks.reference_day import path_in
from mlops_assets.store.layout import DATA

if TYPE_CHECKING:
    from mlops_assets.store.manifest import Manifest


def classes(processed: Manifest, name: str, _other: Manifest | None, limits: CheckLimits) -> Finding:
    """There are at least two classes to learn from."""
    balance = processed.metadata.get("class_balance")
    if balance is None:
        return NOT_REPORTED
    facts = {f"rows of class {label}": rows for label, rows in balance.items()}
    if len(balance) > 1:
        return Finding(facts=facts)
    if limits.train_window_days > 1:
        return Finding(note=f"a single class, but models learn from {limits.train_window_days} days", facts=facts)
    problem = (
        f"{path_in(processed, name)}: all rows are of class {next(iter(balance), None)!r}. Expected at least two to"
        " learn from. Deliver the day's target.csv again, train on another day, or on more days"
        " (MLOPS_TRAIN_WINDOW_DAYS)."
    )
    return Finding(problem, facts=facts)


def row_count(predictions: Manifest, name: str, raw: Manifest | None, _limits: CheckLimits) -> Finding:
    """There are as many predictions as rows."""
    if raw is None or predictions.inputs.get(path_in(raw, DATA)) != raw.file(DATA).sha256:
        return Finding(note="the raw data were replaced since")
    rows, made = raw.file(DATA).rows or 0, predictions.file(name).rows or 0
    problem = (
        f"{path_in(predictions, name)} has {made:,} rows and {path_in(raw, DATA)} has {rows:,}. Expected one for each;"
        " materialize predictions of the day again before you use them."
    )
    return Finding(problem if rows != made else "", facts={"rows": rows, "predictions": made})


def scores(predictions: Manifest, name: str, _other: Manifest | None, _limits: CheckLimits) -> Finding:
    """The scores of a row are probabilities: finite, from 0 to 1, 1 in sum."""
    invalid = predictions.metadata.get("invalid_scores")
    if invalid is None:
        return NOT_REPORTED
    problem = (
        f"{path_in(predictions, name)}: {invalid:,} rows have scores that are not probabilities. Expected finite"
        " numbers from 0 to 1 that add up to 1. The model is at fault: put an earlier one into production"
        " (mlops-assets models rollback) and materialize predictions of the day again."
    )
    return Finding(problem if invalid else "", facts={"rows with invalid scores": invalid})


def fault_in_production(staged: Sequence[int], alias: int | None, model: str) -> str:
    """What is wrong with the versions in production and what to do; empty if exactly one serves.

    Args:
        staged: The versions in stage ``Production``.
        alias: The version with the alias ``champion``.
        model: The registered model's name.
    """
    if len(staged) == 1 and alias == staged[0]:
        return ""
    if not staged:
        remedy = "Run: mlops-assets models promote VERSION"
    elif len(staged) > 1:
        remedy = "Move all but one to the stage Archived in MLflow"
    else:
        remedy = "Run mlops-assets models list, which lets the alias follow the stage"
    return (
        f"Model {model!r}: stage Production: {_versions(staged)}; alias champion:"
        f" {_versions([] if alias is None else [alias])}. Expected the same single version. {remedy}."
    )


def _versions(numbers: Sequence[int]) -> str:
    if not numbers:
        return "no version"
    named = ", ".join(map(str, numbers))
    return f"versions {named}" if len(numbers) > 1 else f"version {named}"
