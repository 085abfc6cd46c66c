"""From a table to what a model learns from: the frame it is given and the preprocessing that it carries inside.

:func:`model_frame` only changes representation (types, missing values) and knows nothing of other rows. All that is
learned from data is a fitted stage of the pipeline that :func:`build_pipeline` declares, so training and prediction
cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.errors import DataError
from mlops_assets.steps.row_hash import LARGEST, as_words
from mlops_assets.steps.threads import openmp_threads_for

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

DOUBLE, STRING, DATETIME, EMPTY = "double", "string", "datetime", "empty"
"""The kinds of features, called as in MLflow's signatures; and of those without a value in training, which are not used
and may hold anything later."""

MAX_ONE_HOT = 12
"""A string column with more distinct values than this is encoded by target means instead of one column a value."""

_DATE_PARTS = ("days", "month", "day", "weekday", "hour")
_NAMES_SHOWN = 10


def feature_kinds(schema: pa.Schema, *, without: tuple[str, ...]) -> dict[str, str]:
    """The kind of each feature, in the table's order."""
    return {field.name: _kind(field.type) for field in schema if field.name not in without}


def model_frame(table: pa.Table, kinds: Mapping[str, str], source: str, *, rows_before: int = 0) -> pd.DataFrame:
    """The features as a model gets them; see :func:`model_columns`. Shape (n, features)."""
    return pd.DataFrame(model_columns(table, kinds, source, rows_before=rows_before), copy=False)


def model_columns(table: pa.Table, kinds: Mapping[str, str], source: str, *, rows_before: int = 0) -> dict[str, Any]:
    """The features as a model gets them, by name.

    Args:
        table: n rows; further columns are ignored.
        kinds: Feature -> kind; these columns in this order.
        source: What to call the data in messages.
        rows_before: Rows of ``source`` that come before these.

    Returns:
        Shape (n,) each. Numbers and booleans are float64 with NaN for missing and infinite values (see
        :data:`~mlops_assets.steps.row_hash.LARGEST`), dates
        datetime64 with NaT, strings are ``str`` with ``""`` for missing, empty columns are NaN.

    Raises:
        DataError: A column is missing, or holds what is not of its kind.
    """
    _refuse_missing(table, kinds, source)
    return {name: _representation(table[name], kind, name, source, rows_before) for name, kind in kinds.items()}


def fitting_rows(table: pa.Table, kinds: Mapping[str, str], source: str) -> NDArray[np.bool_]:
    """The rows that :func:`model_frame` accepts: those whose cells are all of the kinds that the model knows.

    Args:
        table: n rows; further columns are ignored.
        kinds: Feature -> kind.
        source: What to call the data in messages.

    Returns:
        Shape (n,).

    Raises:
        DataError: A column is missing.
    """
    _refuse_missing(table, kinds, source)
    fits = np.ones(table.num_rows, dtype=np.bool_)
    for name, kind in kinds.items():
        if kind not in (STRING, EMPTY):
            fits &= _castable_cells(table[name], _arrow_type(kind))
    return fits


def date_parts(frame: pd.DataFrame) -> Any:
    """Dates as numbers: days since 1970, month, day of month, weekday (Monday is 0) and hour with fraction.

    Args:
        frame: Shape (n, d), datetime64.

    Returns:
        Shape (n, 5 d), float64, NaN where the date is missing; the five parts of the first column come first.
    """
    parts = []
    for name in frame.columns:
        column = frame[name]
        dates = (column if column.dtype.kind == "M" else pd.to_datetime(column)).to_numpy().astype("datetime64[s]")
        days = dates.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        fields = [
            days.astype(np.int64),
            months.astype(np.int64) % 12 + 1,
            (days - months).astype(np.int64) + 1,
            (days.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
            (dates - days).astype(np.int64) / 3600,
        ]
        missing = np.isnat(dates)
        parts += [np.where(missing, np.nan, np.asarray(one, dtype=np.float64)) for one in fields]
    return np.column_stack(parts)


def date_part_names(_transformer: object, names: Any) -> Any:
    """Names of what :func:`date_parts` gives (scikit-learn's ``feature_names_out`` protocol)."""
    return np.array([f"{name}_{part}" for name in names for part in _DATE_PARTS], dtype=object)


def build_pipeline(
    frame: pd.DataFrame, kinds: Mapping[str, str], *, estimator: str, imputation: str, seed: int
) -> Pipeline:
    """An unfitted pipeline for these features.

    Args:
        frame: The training features, to distinguish low from high cardinality.
        kinds: Feature -> kind.
        estimator: ``hist_gradient_boosting``, ``random_forest`` or ``logistic_regression``.
        imputation: ``mean``, ``median`` or ``most_frequent``.
        seed: Of everything random in the pipeline.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    def impute() -> SimpleImputer:
        return SimpleImputer(strategy=imputation, keep_empty_features=True)

    strings = [name for name, kind in kinds.items() if kind == STRING]
    low = [name for name in strings if frame[name].nunique() <= MAX_ONE_HOT]
    dates = Pipeline(
        [
            ("parts", FunctionTransformer(date_parts, feature_names_out=date_part_names)),
            ("impute", impute()),
        ]
    )
    groups = [
        ("numbers", impute(), [name for name, kind in kinds.items() if kind == DOUBLE]),
        ("dates", dates, [name for name, kind in kinds.items() if kind == DATETIME]),
        ("low_cardinality", OneHotEncoder(handle_unknown="ignore", sparse_output=False), low),
        ("high_cardinality", _target_encoder(seed), [name for name in strings if name not in low]),
        ("empty", "drop", [name for name, kind in kinds.items() if kind == EMPTY]),
    ]
    # An empty group is left out: its unfitted encoder would be part of the model for nothing.
    stages: list[tuple[str, Any]] = [("features", ColumnTransformer([group for group in groups if group[2]]))]
    if estimator == "logistic_regression":
        stages.append(("scale", StandardScaler()))
    return Pipeline([*stages, ("estimator", _estimator(estimator, seed))])


def class_probabilities(pipeline: Pipeline, frame: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each class. Shape (n, classes), in the order of ``pipeline.classes_``.

    Args:
        pipeline: All stages, or those from some stage on.
        frame: What its first stage takes. Shape (n, columns).
    """
    from joblib import parallel_config

    # A forest adds up its trees' answers in the order in which threads end: the last digit would change by chance.
    with openmp_threads_for(frame.size), parallel_config("sequential"):
        proba: NDArray[np.float64] = pipeline.predict_proba(frame)
    return proba


def kinds_of(pipeline: Pipeline) -> dict[str, str]:
    """The features that a fitted pipeline was trained on, in their order."""
    kind_of_group = {
        "numbers": DOUBLE,
        "dates": DATETIME,
        "low_cardinality": STRING,
        "high_cardinality": STRING,
        "empty": EMPTY,
    }
    transformer = pipeline.named_steps["features"]
    kinds = {
        name: kind_of_group[group]
        for group, _, names in transformer.transformers_
        if group in kind_of_group
        for name in names
    }
    return {str(name): kinds[name] for name in transformer.feature_names_in_}


def _target_encoder(seed: int) -> Any:
    import sklearn
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 9):
        return TargetEncoder(random_state=seed)
    return TargetEncoder(cv=StratifiedKFold(n_splits=5, shuffle=True, random_state=seed))


def _estimator(name: str, seed: int) -> Any:
    if name == "hist_gradient_boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        # Few, small trees with a high learning rate: on 10,000 rows ROC AUC 0.875 against 0.877 of the defaults,
        # in less than half the time. Without regularization a leaf of one class takes steps without bound: on card
        # fraud (0.8 % of the rows) the ROC AUC falls from 0.74 to 0.52 of one training day, from 0.83 to 0.51 of seven.
        # Early stopping would hold out rows of its own and fail on a class of one row.
        return HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=8,
            learning_rate=0.2,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
    if name == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=200, min_samples_leaf=2, n_jobs=-1, random_state=seed)
    if name == "logistic_regression":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1_000, random_state=seed)
    raise ValueError(f"unknown estimator {name!r}")


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return DATETIME
    return STRING if pa.types.is_string(kind) else DOUBLE


def _arrow_type(kind: str) -> pa.DataType:
    return pa.float64() if kind == DOUBLE else pa.timestamp("us")


def _representation(column: pa.ChunkedArray, kind: str, name: str, source: str, rows_before: int) -> Any:
    if kind == STRING:
        return pc.fill_null(column.cast(pa.string()), "").to_pandas()
    if kind == EMPTY:
        return np.full(len(column), np.nan)
    wanted = _arrow_type(kind)
    try:
        # A column without any value is typed as numbers in the file, whatever it is on other days.
        has_values = column.null_count < len(column)
        values = _cast(column, wanted) if has_values else pa.chunked_array([pa.nulls(len(column), wanted)])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _not_of_kind(column, wanted, name, source, rows_before) from error
    if kind == DATETIME:
        return values.to_pandas()
    numbers = values.to_numpy()
    largest = max((abs(bound) for bound in pc.min_max(values).as_py().values() if bound is not None), default=0.0)
    return numbers if largest <= LARGEST else np.where(np.abs(numbers) > LARGEST, np.nan, numbers)


def _cast(column: pa.ChunkedArray | pa.Array | pa.Scalar, wanted: pa.DataType) -> Any:
    """A column or a value as another type; rounding is allowed (large integers, nanoseconds), nonsense is not.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: It does not mean anything as that type.
    """
    is_text, is_date = pa.types.is_string(column.type), pa.types.is_timestamp(column.type)
    if pa.types.is_timestamp(wanted) and not (is_text or is_date):
        raise pa.ArrowInvalid("a number is no date")  # Arrow would count it as microseconds
    if is_date and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit))
    return column.cast(wanted, safe=is_text)


def _not_of_kind(column: pa.ChunkedArray, wanted: pa.DataType, name: str, source: str, rows_before: int) -> DataError:
    expected = "a number" if pa.types.is_floating(wanted) else "a date"
    row, value = next(
        ((row, value) for row, value in enumerate(column, 1) if not _castable(value, wanted)), (1, column[0])
    )
    return DataError(
        f"{source}, row {rows_before + row} below the header, column {name!r}: expected {expected}, as in the data"
        f" that the model was trained on, found {as_words(value).as_py()!r}. Correct the value, or train a model on"
        " data of the new form."
    )


def _castable_cells(column: pa.ChunkedArray, wanted: pa.DataType) -> NDArray[np.bool_]:
    """Which cells are missing or can be cast. Arrow casts all or none: the distinct words are halved until it does."""
    if _castable(column, wanted):
        return np.ones(len(column), dtype=np.bool_)
    if not pa.types.is_string(column.type):
        return np.asarray(column.is_null().to_numpy(), dtype=np.bool_)
    encoded = column.combine_chunks().dictionary_encode()
    good = np.append(_castable_words(encoded.dictionary, wanted), True)  # the last one stands for missing cells
    return good[pc.fill_null(encoded.indices, len(good) - 1).to_numpy()]


def _castable_words(words: pa.Array, wanted: pa.DataType) -> NDArray[np.bool_]:
    castable = _castable(words, wanted)
    if castable or len(words) == 1:
        return np.full(len(words), castable)
    half = len(words) // 2
    return np.concatenate([_castable_words(words[:half], wanted), _castable_words(words[half:], wanted)])


def _castable(value: pa.ChunkedArray | pa.Array | pa.Scalar, wanted: pa.DataType) -> bool:
    try:
        _cast(value, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _refuse_missing(table: pa.Table, kinds: Mapping[str, str], source: str) -> None:
    there = set(table.column_names)
    if missing := [name for name in kinds if name not in there]:
        raise DataError(
            f"{source} lacks {_listed(missing)}, which the model was trained on. Deliver the file with all its columns,"
            " or train a model without them (MLOPS_DROP_COLUMNS)."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"the column{'s' if len(names) > 1 else ''} {shown}{more}"
