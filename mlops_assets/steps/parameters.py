"""What a user can set of the steps, as plain values that travel to wherever a step runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

from mlops_assets.declared import names, setting
from mlops_assets.sources.generate import MAX_ROWS, SOURCES

_ID_OF_TRANSACTIONS = "TRANSACTION_ID"
_FIRST, _LAST = "1970-01-01", "2199-12-31"
_MAX_SEED = 2**32 - 1
_MISSING = (
    "NA", "N/A", "n/a", "#N/A", "#NA", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "none", "-",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
_training = partial(setting, section="Training")
_gate = partial(setting, section="Gate")


def _known_source(value: str) -> str:
    if value not in ("files", *SOURCES):
        raise ValueError(f"expected one of files, {', '.join(SOURCES)}")
    return value


def _as_text(value: Any) -> Any:
    return value.isoformat() if type(value) is dt.date else value


def _day(value: str) -> str:
    try:
        day = dt.date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("expected a date, YYYY-MM-DD") from None
    if not _FIRST <= day <= _LAST:
        raise ValueError(f"expected a date from {_FIRST} to {_LAST}")
    return day


def _delimiter(value: str) -> str:
    if value.isalnum() or not value.isascii() or value in '"\r\n\0.+-':
        raise ValueError(r'expected one character such as ; or | (a tab: "\t" with double quotes in .env)')
    return value


@dataclass(frozen=True)
class Parameters:
    """The parameters of all steps; each step uses the few that it declares.

    Attributes:
        model_name: The registered model, which is part of a model's recipe; set with the tracking settings.
    """

    source: str = setting(
        "classification",
        "Where raw data come from: `files` (delivered into the data root), or a generator:"
        f" {', '.join(f'`{one}`' for one in SOURCES)}.",
        check=_known_source,
    )
    start_date: str = setting(
        "2026-01-01", "First day of the partitions.", section="Project", parse=_as_text, check=_day
    )
    seed: int = setting(0, "Seed of all random numbers.", ge=0, le=_MAX_SEED)
    rows_per_day: int = setting(10_000, "Rows that a generator makes for a day.", ge=1, le=MAX_ROWS)
    csv_delimiter: str = setting(
        ",", "Delimiter of the cells in delivered files.", min_length=1, max_length=1, check=_delimiter
    )
    id_column: str = setting(
        "",
        "Column that identifies a row; never a feature. Default: `id`, for source `transactions` `TRANSACTION_ID`.",
    )
    target_column: str = setting("target", "Name of the target in processed data.", min_length=1)
    text_columns: tuple[str, ...] = setting(
        (),
        "Columns of delivered files that are text even where they look like numbers (`01`), separated by commas.",
        parse=names,
    )
    missing_values: tuple[str, ...] = setting(
        _MISSING,
        "Words that mean in delivered files that a value is missing, separated by commas. Empty and blank cells always"
        " do.",
        parse=names,
    )
    drop_columns: tuple[str, ...] = setting(
        (), "Columns that must not become features, separated by commas.", parse=names
    )
    validation_share: float = _training(0.2, "Share of the rows that is held out for validation.", gt=0, lt=1)
    estimator: Literal["hist_gradient_boosting", "random_forest", "logistic_regression"] = _training(
        "hist_gradient_boosting", "The model that is trained."
    )
    imputation: Literal["mean", "median", "most_frequent"] = _training(
        "mean", "How missing numbers are filled, fitted on the training rows."
    )
    train_window_days: int = _training(
        1, "A model is trained on the rows of this many days, its own day the last.", ge=1, le=3_650
    )
    positive_label: str | None = _training(
        None, "Positive class of a binary problem. Default: the later one in sorting order."
    )
    gate_metric: Literal["roc_auc", "average_precision", "log_loss"] = _gate(
        "roc_auc", "Metric that models are compared by."
    )
    gate_min_score: float = _gate(
        0.55, "Threshold that a challenger must reach in any case (`log_loss`: must stay below).", ge=0
    )
    gate_confidence: float = _gate(
        0.95, "Confidence of the bootstrap that the challenger is better than the champion.", ge=0.5, lt=1
    )
    gate_samples: int = _gate(
        10_000,
        "Bootstrap samples. The higher the confidence and the more challengers at once, the more are needed.",
        ge=1_000,
        le=1_000_000,
    )
    model_name: str = ""

    def __post_init__(self) -> None:
        """Use the source's id column where none is set."""
        if not self.id_column:
            object.__setattr__(self, "id_column", self.default_id_column)

    @property
    def default_id_column(self) -> str:
        """The source's id column; delivered files need not have one."""
        return _ID_OF_TRANSACTIONS if self.source == "transactions" else "id"

    @property
    def names_id_column(self) -> bool:
        """Whether the id column was chosen, so that the data must have it."""
        return self.id_column != self.default_id_column

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Parameters:
        """From JSON values, in which a tuple is a list."""
        known = {one.name for one in fields(cls)}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items() if name in known
        }
        return cls(**given)
