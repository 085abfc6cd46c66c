"""What a user can set of the steps, as plain values that travel to wherever a step runs.

The settings that these come from, their texts and their validation are in :mod:`mlops_assets.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Parameters:
    """The parameters of all steps; each step uses the few that concern it.

    Attributes:
        source: Where raw data come from: ``files`` or the name of a generator.
        seed: Of everything random.
        rows_per_day: Rows that a generator makes for a day.
        start_date: The first day, ``YYYY-MM-DD``; generators drift from there.
        csv_delimiter: Between the cells of delivered files.
        id_column: The column that identifies a row, where data have it. Never a feature.
        text_columns: Further columns of delivered files that are words however they look (``01``).
        target_column: What the target is called in ``processed``.
        drop_columns: Columns that must not become features.
        positive_label: The class whose precision, recall and so on count in a binary problem; None: the later one in
            sorting order.
        validation_share: Share of the rows that ``split`` holds out.
        estimator: ``hist_gradient_boosting``, ``random_forest`` or ``logistic_regression``.
        imputation: How missing numbers are filled: ``mean``, ``median`` or ``most_frequent``.
        train_window_days: A model learns from the training rows of this many days, its own day the last.
        model_name: The registered model.
        gate_metric: What the gate compares: ``roc_auc``, ``average_precision`` or ``log_loss``.
        gate_min_score: What a challenger must reach in any case (for ``log_loss``: must stay below).
        gate_confidence: How sure the bootstrap must be that the challenger is better, 0.5 to 1.
        gate_samples: Bootstrap draws; with n challengers, about ``(1 - gate_confidence) / n`` must be told from zero.
    """

    source: str = "classification"
    seed: int = 0
    rows_per_day: int = 10_000
    start_date: str = "2026-01-01"
    csv_delimiter: str = ","
    id_column: str = "id"
    text_columns: tuple[str, ...] = ()
    target_column: str = "target"
    drop_columns: tuple[str, ...] = ()
    positive_label: str | None = None
    validation_share: float = 0.2
    estimator: str = "hist_gradient_boosting"
    imputation: str = "mean"
    train_window_days: int = 1
    model_name: str = "mlops-assets"
    gate_metric: str = "roc_auc"
    gate_min_score: float = 0.55
    gate_confidence: float = 0.95
    gate_samples: int = 10_000

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Parameters:
        """From JSON values, in which a tuple is a list."""
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in content.items() if name in known}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
