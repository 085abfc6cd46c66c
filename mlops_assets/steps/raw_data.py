"""How a day's raw data come to be: ``generate`` emulates them, ``register`` accepts what was delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, SettingsError, columns_hint
from mlops_assets.steps.declaration import Outcome
from mlops_assets.store.layout import DATA, TARGET

if TYPE_CHECKING:
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.delivered import Scan

MISSING_SHARE = {DATA: "missing_share", TARGET: "target_missing_share"}
"""File -> where the metadata have the share of missing values of its columns; a column without any is left out."""

REPEATED_IDS = {DATA: "repeated_ids", TARGET: "target_repeated_ids"}
"""File -> where the metadata have the number of ids that stand there again; None where there is no id column."""


def generate(_inputs: Mapping[str, Any], params: Parameters, ds: str) -> Outcome:
    """Emulate the data of a day: a pure function of source, seed, rows and date.

    Raises:
        SettingsError: The source cannot give this day.
    """
    from mlops_assets.sources.generate import generate_day
    from mlops_assets.steps.duplicate_ids import RepeatedIds
    from mlops_assets.steps.row_hash import class_balance

    try:
        day = generate_day(params.source, ds, seed=params.seed, rows=params.rows_per_day, start_date=params.start_date)
    except ValueError as error:
        raise SettingsError(f"raw_data of {ds} cannot be generated: {error}") from error
    balance = class_balance(day.target[day.target.column_names[-1]])
    metadata: dict[str, Any] = {"source": params.source, "class_balance": balance}
    for name, table in ((DATA, day.data), (TARGET, day.target)):
        missing = {column: table[column].null_count for column in table.column_names}
        ids = RepeatedIds(params.id_column)
        ids.add(table)
        metadata |= _facts(name, table.num_rows, missing, ids.count())
    return Outcome({DATA: day.data, TARGET: day.target}, metadata)


def register(inputs: Mapping[str, Any], params: Parameters, ds: str) -> Outcome:
    """Accept the files that were delivered for a day; they stay as they are.

    Raises:
        DataError: ``data.csv`` is missing or broken, or lacks the column that ``MLOPS_ID_COLUMN`` names. A broken
            target is registered with its problem.
    """
    data, target = inputs[DATA], inputs[TARGET]
    _refuse_missing_id(list(data.info.columns or {}), params, ds)
    if target is not None and not target.info.problem and (problem := _target_problem(data, target, params, ds)):
        target = replace(target, info=replace(target.info, problem=problem))
    delivered = {name: one for name, one in ((DATA, data), (TARGET, target)) if one is not None}
    scans = {name: one for name, one in delivered.items() if not one.info.problem}
    warnings = [
        f"{name} does not end with a line break: it may have been cut off in its last value"
        for name, scan in scans.items()
        if not scan.ends_with_newline
    ]
    warnings += [one.info.problem for one in delivered.values() if one.info.problem]
    metadata: dict[str, Any] = {"has_target": TARGET in scans}
    for name, scan in scans.items():
        metadata |= _facts(name, scan.info.rows, scan.missing, scan.repeated_ids)
    if warnings:
        metadata["warnings"] = warnings
    return Outcome(delivered, metadata)


def _refuse_missing_id(columns: list[str], params: Parameters, ds: str) -> None:
    """Refuse a misspelt id column: ids would become a feature, and row numbers stand beside the predictions."""
    if params.names_id_column and params.id_column not in columns:
        raise DataError(
            f"raw/{ds}/{DATA} has no column {params.id_column!r}, which MLOPS_ID_COLUMN names."
            f" {columns_hint(params.id_column, columns)} Correct the setting or the file; without the setting and a"
            f" column {params.default_id_column!r}, rows are numbered."
        )


def _target_problem(data: Scan, target: Scan, params: Parameters, ds: str) -> str | None:
    """Why data and target cannot belong together; the day is predicted all the same."""
    data_columns, target_columns = data.info.columns or {}, target.info.columns or {}
    try:
        target_name(list(target_columns), params, ds)
    except DataError as error:
        return str(error)
    by_id = params.id_column in data_columns and params.id_column in target_columns
    rows, targets = data.info.rows or 0, target.info.rows or 0
    if not by_id and not targets - target.empty_lines_at_end <= rows <= targets:
        return str(lengths_differ(rows, targets, params, ds))
    return None


def _facts(name: str, rows: int, missing: Mapping[str, int], repeated_ids: int | None) -> dict[str, Any]:
    """What the checks want to know of a file, under the names that they look for."""
    return {
        MISSING_SHARE[name]: {column: round(count / rows, 6) for column, count in missing.items() if count},
        REPEATED_IDS[name]: repeated_ids,
    }


def target_name(columns: list[str], params: Parameters, ds: str) -> str:
    """Which column of ``target.csv`` holds the target.

    Raises:
        DataError: It cannot be known.
    """
    names = [name for name in columns if name != params.id_column]
    if params.target_column in names:
        return params.target_column
    if len(names) == 1:
        return names[0]
    raise DataError(
        f"raw/{ds}/{TARGET} has the columns {', '.join(columns)}: expected one column with the target, called"
        f" {params.target_column!r} or alone beside the id {params.id_column!r}. Set MLOPS_TARGET_COLUMN or"
        " MLOPS_ID_COLUMN."
    )


def lengths_differ(rows: int, targets: int, params: Parameters, ds: str) -> DataError:
    """The error for data and target that cannot be matched by position."""
    longer = TARGET if targets > rows else DATA
    return DataError(
        f"raw/{ds}/{DATA} has {rows:,} rows and raw/{ds}/{TARGET} has {targets:,}: {longer} goes on after row"
        f" {min(rows, targets):,} and, without a column {params.id_column!r} in both, they are matched by position."
        " Deliver both again, or give both the id column and set MLOPS_ID_COLUMN."
    )
