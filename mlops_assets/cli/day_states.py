"""The state of each day of each asset: done, stale, failed or never made, and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import blockers, stopped_by
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.steps.catalog import ASSETS, days_come_from
from mlops_assets.store.layout import DATA
from mlops_assets.store.local import LocalStore

if TYPE_CHECKING:
    from mlops_assets.checks.raw_data_rules import CheckLimits

DONE, STALE, FAILED, NEVER = "done", "stale", "failed", "never"


@dataclass(frozen=True)
class State:
    """One day of one asset.

    Attributes:
        state: One of the four.
        reason: Why it is stale or failed; of a delivery that is not registered, that it is there.
        model_version: Of predictions, which version made them.
        in_sample: Of predictions, whether that version was trained on the day.
    """

    state: str
    reason: str = ""
    model_version: int | None = None
    in_sample: bool = False


Day = Mapping[str, State]
"""Asset -> its state."""


class DayStates:
    """Looks at days of a data root."""

    def __init__(
        self, store: LocalStore, staleness: Staleness, failures: Mapping[str, Mapping[str, str]], limits: CheckLimits
    ) -> None:
        """Nothing is read until first use.

        Args:
            store: The data root.
            staleness: Of what is published there.
            failures: Asset -> day -> message, where the last attempt failed.
            limits: What the checks allow: a day that one stops has failed, even if no later step was tried.
        """
        self._store, self._staleness, self._failures = store, staleness, failures
        self._blockers = partial(blockers, records=Records.of(store), limits=limits)

    def known(self, first: dt.date, last: dt.date) -> list[str]:
        """The days of a span of which anything is there or was tried, oldest first."""
        found = {ds for asset in ASSETS for ds in (*self._store.days(asset), *self._failures.get(asset, ()))}
        return sorted(ds for ds in found if first.isoformat() <= ds <= last.isoformat())

    def of(self, ds: str) -> Day:
        """All assets of a day."""
        return {asset: self._state(asset, ds) for asset in ASSETS}

    def _state(self, asset: str, ds: str) -> State:
        if (message := self._failures.get(asset, {}).get(ds)) is not None:
            return State(FAILED, message)
        found = self._published(asset, ds)
        if found.state != DONE and (verdicts := self._blockers(asset, ds)):
            return State(FAILED, stopped_by(verdicts))
        return found

    def _published(self, asset: str, ds: str) -> State:
        try:
            manifest = self._store.manifest(asset, ds)
        except MlopsAssetsError as error:
            return State(STALE, str(error))
        if manifest is None:
            waits = asset == "raw_data" and is_delivered(self._store, ds)
            return State(NEVER, "delivered, and not registered" if waits else "")
        if asset == "production_model":  # which version served is a fact that does not become stale
            return State(DONE)
        facts = manifest.metadata
        reason = self._staleness.why_stale(asset, ds) or ""
        return State(STALE if reason else DONE, reason, facts.get("model_version"), bool(facts.get("in_sample")))


def is_delivered(store: LocalStore, ds: str) -> bool:
    """Whether raw data of a day lie there, registered or not."""
    return (store.folder("raw_data", ds) / DATA).exists()


def every_day(first: str, last: dt.date) -> Iterator[str]:
    """All days from one to another."""
    start = dt.date.fromisoformat(first)
    return ((start + dt.timedelta(days=one)).isoformat() for one in range((last - start).days + 1))


def reasons(days: Mapping[str, Day]) -> Mapping[tuple[str, str, tuple[str, ...]], Sequence[str]]:
    """(state, reason, assets) -> the days that it concerns; what is made of a stale asset is named with it."""
    found: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for ds, states in days.items():
        for (state, reason), assets in _of_day(states).items():
            found.setdefault((state, reason, tuple(assets)), []).append(ds)
    return found


def _of_day(states: Day) -> Mapping[tuple[str, str], Sequence[str]]:
    """(state, reason) -> the assets; what only follows from the state of another asset has no reason of its own."""
    found: dict[tuple[str, str], list[str]] = {}
    for asset, one in states.items():
        upstream = [other for other in days_come_from(asset) if one.state == states[other].state]
        if one.reason and not (upstream and one.state in (STALE, FAILED)):
            followers = [other for other in ASSETS if asset in days_come_from(other) and states[other].state == STALE]
            found.setdefault((one.state, one.reason), []).extend([asset, *(followers if one.state == STALE else ())])
    return {key: sorted(set(assets), key=ASSETS.index) for key, assets in found.items()}
