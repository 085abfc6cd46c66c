"""From what the steps report (JSON values) to Dagster's metadata, which its UI shows as tables, links and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

ROW_COUNT = "dagster/row_count"
"""Dagster's own name for the number of rows; its catalog plots it."""


_LAST = ("rows", "columns", "preview", "sha256", "path", "manifest")
"""What every step has comes after what only this one has to say."""

_PLAIN: Mapping[type, Callable[[Any], dg.MetadataValue[Any]]] = {
    bool: dg.MetadataValue.bool,
    int: dg.MetadataValue.int,
    float: dg.MetadataValue.float,
    str: dg.MetadataValue.text,
}


def to_dagster(metadata: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """Each value as the kind of metadata that the UI shows best."""
    names = [*(name for name in metadata if name not in _LAST), *(name for name in _LAST if name in metadata)]
    converted = {name: _value(name, metadata[name]) for name in names}
    if isinstance(rows := metadata.get("rows"), int):
        converted[ROW_COUNT] = dg.MetadataValue.int(rows)
    return converted


def _value(name: str, value: Any) -> dg.MetadataValue[Any]:
    if isinstance(value, str) and name in {"path", "manifest"}:
        return dg.MetadataValue.path(value)
    if isinstance(value, str) and name.endswith("_url"):
        return dg.MetadataValue.url(value)
    if isinstance(value, list) and value and name == "preview":
        return _table(value)
    return _PLAIN.get(type(value), dg.MetadataValue.json)(value)


def _table(rows: list[dict[str, Any]]) -> dg.MetadataValue[Any]:
    columns = [dg.TableColumn(name) for name in rows[0]]
    # Text, because a table cell of Dagster cannot be missing.
    records = [
        dg.TableRecord({name: "" if value is None else str(value) for name, value in row.items()}) for row in rows
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
