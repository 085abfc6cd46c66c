"""Whether the files delivered for a day are new, complete and readable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.automation.config import MARKER, AutomationConfig
from mlops_assets.errors import DataError
from mlops_assets.store.layout import DATA, TARGET, manifest_name

if TYPE_CHECKING:
    from mlops_assets.store.listing import Stamp, Survey
    from mlops_assets.store.manifest import Manifest

_HEADER_BYTES = 1 << 16
_REGISTERING_NS = 2_000_000_000
_KEY_LENGTH = 12

Observations = dict[str, tuple[str, float]]
"""Day -> what was seen of its delivery, and since when it has been unchanged (seconds since 1970).

The first look goes by the age of the files, later ones by what was seen before: the clock of a file server may differ.
"""


@dataclass(frozen=True)
class Delivery:
    """The content of a day's raw folder.

    Attributes:
        key: Identifies the delivery if it is not registered yet; None where all is registered.
        problem: Why it cannot be registered now; None where it can.
    """

    key: str | None
    problem: str | None = None


def examine(
    survey: Survey,
    config: AutomationConfig,
    ds: str,
    files: Mapping[str, Stamp],
    observations: Observations,
    now: float,
    delimiter: str,
) -> Delivery:
    """Compare a day's files with what was registered and with the last look.

    Args:
        survey: To read the manifest and, where only times differ, the content.
        config: ``require_marker``, ``settle_seconds``.
        ds: The day.
        files: The listing of its folder.
        observations: Of earlier looks; updated.
        now: Seconds since 1970.
        delimiter: Between the cells.
    """
    registered = survey.manifest("raw_data", ds, dict(files))
    delivered = {name: files[name] for name in (DATA, TARGET) if name in files}
    if DATA not in delivered:
        observations.pop(ds, None)
        gone = f"raw/{ds}/{DATA} is missing" + ("" if registered is None else "; it was registered before")
        return Delivery("", gone)
    if registered is not None and not _has_changed(survey, ds, delivered, registered, files):
        observations.pop(ds, None)
        return Delivery(None)
    key = short_key(sorted(delivered.items()))
    problem = _incomplete(config, ds, files, key, observations, now)
    return Delivery(key, problem or _unreadable(survey, ds, delivered, delimiter))


def short_key(content: object) -> str:
    """A short text that stands for some content."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:_KEY_LENGTH]


def _has_changed(
    survey: Survey, ds: str, delivered: Mapping[str, Stamp], registered: Manifest, files: Mapping[str, Stamp]
) -> bool:
    known = {info.name: info for info in registered.files}
    published = files[manifest_name("raw_data")].changed
    for name, stamp in delivered.items():
        if name not in known or known[name].size != stamp.size:
            return True
        # A file that was touched after it was registered, or just before, may be another one of the same size.
        is_later = stamp.changed > published - _REGISTERING_NS
        try:
            if is_later and survey.digest(ds, name, stamp) != known[name].sha256:
                return True
        except (OSError, DataError):  # it cannot be read, which is said where its header is looked at
            return True
    return False


def _incomplete(
    config: AutomationConfig, ds: str, files: Mapping[str, Stamp], key: str, observations: Observations, now: float
) -> str | None:
    marker = files.get(MARKER)
    newest = max(files[name].changed for name in (DATA, TARGET) if name in files)
    if marker is not None and marker.changed >= newest:
        return None
    if config.require_marker:
        state = "is missing" if marker is None else "is older than the data"
        return f"raw/{ds}/{MARKER} {state} (MLOPS_READY_WHEN=marker)"
    seen, since = observations.setdefault(ds, (key, min(newest / 1e9, now)))
    if seen != key:
        observations[ds] = (key, now)
        return f"raw/{ds} is still being written"
    if now - since < config.settle_seconds:
        return f"raw/{ds} must stay unchanged for {config.settle_seconds:g} s (MLOPS_SETTLE_SECONDS)"
    return None


def _unreadable(survey: Survey, ds: str, delivered: Mapping[str, Stamp], delimiter: str) -> str | None:
    """Why a header cannot be read; the step that registers the files checks the rows."""
    from mlops_assets.store.csv_errors import check_header

    for name in delivered:
        try:
            with (survey.store.folder("raw_data", ds) / name).open("rb") as file:
                check_header(file.read(_HEADER_BYTES), survey.store.relative("raw_data", ds, name), delimiter)
        except DataError as error:
            return str(error)
        except UnicodeDecodeError:
            return f"raw/{ds}/{name}: the header is not UTF-8"
        except FileNotFoundError:
            return f"raw/{ds}/{name} was removed"
        except OSError as error:
            return f"raw/{ds}/{name} cannot be read: {error.strerror}"
    return None
