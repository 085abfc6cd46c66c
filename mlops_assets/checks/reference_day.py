"""The last good day: what the raw data of a day are compared with.

It is the newest earlier day whose file, as it is now, was used: processed or predicted. So a day that a check stopped
is never the measure of later ones; and a person who accepts a change, by making the stopped asset by hand, makes it
one beside those of the week before. Data and target are asked about apart, because predictions need no target.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError
from mlops_assets.steps.raw_data import MISSING_SHARE, REPEATED_IDS
from mlops_assets.store.disk import StorageError
from mlops_assets.store.layout import FOLDERS

if TYPE_CHECKING:
    from mlops_assets.store.local import LocalStore
    from mlops_assets.store.manifest import Manifest

LOOK_BACK = 28
"""So many earlier days that are published are looked at; older ones are no measure."""

WEEK = 7
"""So many good days are compared with where days of the week may differ."""

_COUNTS = (*REPEATED_IDS.values(), "invalid_scores")
_COUNTS_BY_NAME = (*MISSING_SHARE.values(), "class_balance")
_USERS_OF_RAW_DATA = ("predictions", "processed")


@dataclass(frozen=True)
class Records:
    """What the checks look at: manifests, never data.

    Attributes:
        read: ``(asset, ds)`` -> what is published of the day, or None.
        days: The published days of ``raw_data``, oldest first.
    """

    read: Callable[[str, str], Manifest | None]
    days: Sequence[str]

    @classmethod
    def of(cls, store: LocalStore) -> Records:
        """The records of a data root from now on; each manifest is read once."""

        def read(asset: str, ds: str) -> Manifest | None:
            try:
                manifest = store.manifest(asset, ds)
            except (DataError, StorageError):  # not to be read: nothing is known of that day
                return None
            return manifest if manifest is not None and _is_comparable(manifest.metadata) else None

        return cls(cache(read), store.partitions("raw_data"))


def _is_comparable(facts: Mapping[str, Any]) -> bool:
    """Whether the facts that checks compare are of their types: not only we can write into a day's folder."""
    counts = [facts.get(name, 0) for name in _COUNTS]
    by_name = [facts.get(name) or {} for name in _COUNTS_BY_NAME]
    if not all(isinstance(one, Mapping) for one in by_name):
        return False
    counts += [count for one in by_name for count in one.values()]
    return all(isinstance(count, int | float | None) for count in counts)


def path_in(manifest: Manifest, name: str) -> str:
    """A file's path below the data root."""
    return f"{FOLDERS[manifest.asset]}/{manifest.partition}/{name}"


def has_file(manifest: Manifest, name: str) -> bool:
    """Whether a partition has a file that can be read; the target may come later than the data, or be broken."""
    return any(info.name == name and not info.problem for info in manifest.files)


def is_used(records: Records, raw: Manifest, name: str) -> bool:
    """Whether a file of ``raw_data`` as it is now, and no earlier delivery of it, was processed or predicted."""
    path, digest = path_in(raw, name), raw.file(name).sha256
    users = (records.read(asset, raw.partition) for asset in _USERS_OF_RAW_DATA)
    return any(user is not None and user.inputs.get(path) == digest for user in users)


def good_days(records: Records, ds: str, name: str, fits: Callable[[Manifest, Manifest], bool]) -> list[Manifest]:
    """What a file of ``raw_data`` is compared with, the newest first: a week of good days; none where none came before.

    Where none was used yet (the first run over many days), it is the newest that fits the one before it: a single bad
    day must not make the day after it look bad.

    Args:
        records: The manifests.
        ds: The day.
        name: The file.
        fits: Whether the file of one day passes in comparison with that of another.
    """
    place = bisect_left(records.days, ds)
    unused: list[Manifest] = []
    used: list[Manifest] = []
    for day in reversed(records.days[max(0, place - LOOK_BACK) : place]):
        raw = records.read("raw_data", day)
        if raw is None or not has_file(raw, name):
            continue
        (used if is_used(records, raw, name) else unused).append(raw)
        if len(used) == WEEK:
            break
    if used:
        return used
    fitting = (raw for raw, before in pairwise(unused) if fits(raw, before))
    newest = next(fitting, unused[-1] if unused else None)
    return [] if newest is None else [newest]
