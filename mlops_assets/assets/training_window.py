"""The days before a day that a model learns from, too: a run that prepares the day prepares them with it.

Only some days are trained for (Sundays, say), and with ``MLOPS_TRAIN_WINDOW_DAYS`` their models learn from all days of
the window that are prepared.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from mlops_assets.checks.reference_day import Records, has_file
from mlops_assets.checks.verdicts import blockers
from mlops_assets.store.layout import TARGET

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.checks.raw_data_rules import CheckLimits
    from mlops_assets.runtime.staleness import Staleness

PREPARED = ("processed", "split")
"""What a model's window is made of."""


def days_to_prepare(backend: Backend, staleness: Staleness, asset: str, ds: str, limits: CheckLimits) -> list[str]:
    """The earlier days of the window of a day whose partition of an asset is missing or stale, and can be made."""
    if asset not in PREPARED or backend.params.train_window_days == 1:
        return []
    last = dt.date.fromisoformat(ds)
    days = [(last - dt.timedelta(days=back)).isoformat() for back in range(1, backend.params.train_window_days)]
    records = Records.of(backend.store)

    def can_be_made(day: str) -> bool:
        raw = records.read("raw_data", day)
        is_there = raw is not None and has_file(raw, TARGET)
        if asset == "split" and staleness.why_stale("processed", day) is not None:
            return False
        return is_there and not blockers(asset, day, records, limits)

    return [day for day in sorted(days) if can_be_made(day) and staleness.why_stale(asset, day) is not None]
