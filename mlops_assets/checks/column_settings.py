"""Column names in settings that stand for no column: misspelt, or of other data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mlops_assets.checks.reference_day import Records
from mlops_assets.errors import columns_hint

if TYPE_CHECKING:
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.manifest import Manifest

_DAYS_LOOKED_AT = 30


def unknown_columns(params: Parameters, records: Records, days: Iterable[str]) -> Iterator[str]:
    """What is wrong with the settings that name columns, as sentences.

    Args:
        params: ``drop_columns``, ``text_columns``.
        records: Of the data root.
        days: The newest of these are looked at, together: a column need not be there every day.
    """
    newest = sorted(days)[-_DAYS_LOOKED_AT:]
    manifests = [one for ds in newest if (one := records.read("raw_data", ds)) is not None]
    columns = dict.fromkeys(name for one in manifests for info in one.files for name in info.columns or {})
    if not columns:
        return
    for setting, names in (("MLOPS_DROP_COLUMNS", params.drop_columns), ("MLOPS_TEXT_COLUMNS", params.text_columns)):
        for name in names:
            if name not in columns:
                what = f"{setting} names {name!r}, which no file of {_span(manifests)} has."
                yield f"{what} {columns_hint(name, columns)}"


def _span(manifests: list[Manifest]) -> str:
    first, last = manifests[0].partition, manifests[-1].partition
    return f"raw/{first}" if first == last else f"raw/{first} … raw/{last}"
