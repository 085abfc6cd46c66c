"""The rules of the checks of raw data: one file of a day, compared with the last good day.

A rule looks at what the step reported in the manifest and opens no file. What the step did not report is not
judged. The rules of the other assets are in :mod:`mlops_assets.checks.output_rules`; which asset has which rule, and
what a failure stops, is said in :mod:`mlops_assets.checks.verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.checks.reference_day import WEEK, path_in
from mlops_assets.declared import setting
from mlops_assets.steps.parameters import Parameters
from mlops_assets.steps.raw_data import MISSING_SHARE, REPEATED_IDS
from mlops_assets.store.layout import DATA, TARGET

if TYPE_CHECKING:
    from mlops_assets.store.manifest import Manifest

_CLEARLY_MORE = 0.1
_NAMES_SHOWN = 10


@dataclass(frozen=True)
class CheckLimits:
    """What the checks allow.

    Attributes:
        ignored_columns: Columns of ``data.csv`` that nothing is made of; the parameter ``drop_columns``.
        train_window_days: A model learns from so many days; of one alone it needs two classes. A parameter, too.
    """

    schema: bool = setting(True, "Fail a day whose columns are not those of the last good day.", name="check_schema")
    max_row_fall: float = setting(
        0.5,
        "Fail a day that lacks more than this share of the rows of the smallest of the last seven good days; 0: off.",
        name="check_max_row_fall",
        ge=0,
        le=1,
    )
    max_missing_share: float = setting(
        0.5,
        "Fail a day if more than this share of a column is missing, unless about as much was missing on the last good"
        " day; 0: off.",
        name="check_max_missing_share",
        ge=0,
        le=1,
    )
    ignored_columns: tuple[str, ...] = ()
    train_window_days: int = Parameters.train_window_days


@dataclass(frozen=True)
class Finding:
    """What a rule found in a file.

    Attributes:
        problem: What is wrong, where, what was expected and what to do; empty if the file passes.
        note: Why it passes where nothing could be judged.
        facts: The values that decided, by name.
    """

    problem: str = ""
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


NOT_REPORTED = Finding(note="the step did not report it")
WORDS = "words"
_NO_DAY_BEFORE = Finding(note="there is no earlier day to compare with")


def schema(raw: Manifest, name: str, good: Manifest | None, limits: CheckLimits) -> Finding:
    """The columns are there, no others, of the same kind: numbers, words or dates. One without values is of any."""
    if not limits.schema:
        return _switched_off("MLOPS_CHECK_SCHEMA")
    if good is None:
        return _NO_DAY_BEFORE
    now, then = _kinds(raw, name, limits), _kinds(good, name, limits)
    changes = list(_changes(now, then, name))
    accept = _accept(name, for_model=any(now.get(column) not in {kind, ""} for column, kind in then.items() if kind))
    problem = (
        f"{path_in(raw, name)} {'; '.join(changes)}. Expected the columns of {good.partition}, the last good day."
        f" {accept}. Columns that do not matter can be named in MLOPS_DROP_COLUMNS."
    )
    return Finding(problem if changes else "", facts={"last good day": good.partition, "changes": len(changes)})


def row_count(raw: Manifest, name: str, good: Manifest | None, limits: CheckLimits) -> Finding:
    """The rows are not suddenly few, as in a delivery that was cut off; ``good``: the good day with the fewest."""
    if not limits.max_row_fall:
        return _switched_off("MLOPS_CHECK_MAX_ROW_FALL")
    if good is None:
        return _NO_DAY_BEFORE
    now, then = raw.file(name).rows or 0, good.file(name).rows or 0
    problem = (
        f"{path_in(raw, name)} has {now:,} rows, and {then:,} on {good.partition}, which has the fewest of the last"
        f" good days (up to {WEEK}). Expected at least {1 - limits.max_row_fall:.0%} of them; is the file complete?"
        f" {_accept(name)}, or raise MLOPS_CHECK_MAX_ROW_FALL."
    )
    is_bad = now < then * (1 - limits.max_row_fall)
    facts = {"good day with the fewest rows": good.partition, "rows": now, "rows then": then}
    return Finding(problem if is_bad else "", facts=facts)


def missing_values(raw: Manifest, name: str, good: Manifest | None, limits: CheckLimits) -> Finding:
    """No column suddenly lacks most values: more than are allowed, and clearly more than on the last good day."""
    if not limits.max_missing_share:
        return _switched_off("MLOPS_CHECK_MAX_MISSING_SHARE")
    if good is None:
        return _NO_DAY_BEFORE
    now, then = (one.metadata.get(MISSING_SHARE[name]) for one in (raw, good))
    if now is None or then is None:
        return NOT_REPORTED
    known = _kinds(good, name, limits)
    emptied = {
        column: share
        for column, share in now.items()
        if column in known and share > max(limits.max_missing_share, then.get(column, 0) + _CLEARLY_MORE)
    }
    problem = (
        f"{path_in(raw, name)}: values are missing in {_listed([*emptied])}, up to"
        f" {max(emptied.values(), default=0):.0%} of the rows."
        f" They were there on {good.partition}, the last good day; expected at most"
        f" {limits.max_missing_share:.0%} missing. {_accept(name)}, or raise MLOPS_CHECK_MAX_MISSING_SHARE."
    )
    facts = {"last good day": good.partition, "highest share of missing values": max(now.values(), default=0.0)}
    return Finding(problem if emptied else "", facts=facts)


def unique_ids(raw: Manifest, name: str, _good: Manifest | None, _limits: CheckLimits) -> Finding:
    """Each id stands there once."""
    if REPEATED_IDS[name] not in raw.metadata:
        return NOT_REPORTED
    repeated = raw.metadata[REPEATED_IDS[name]]
    if repeated is None:
        return Finding(note="there is no id column")
    problem = (
        f"{path_in(raw, name)}: {repeated:,} rows have the id of an earlier row. Expected each id once. All rows are"
        " predicted; for training, rows that repeat another exactly are dropped, and others are refused. Deliver the"
        " day again, or set MLOPS_ID_COLUMN to the column that identifies a row."
    )
    return Finding(problem if repeated else "", facts={"repeated ids": repeated})


def _switched_off(setting: str) -> Finding:
    return Finding(note=f"switched off ({setting})")


def _accept(name: str, *, for_model: bool = False) -> str:
    """How to go on; ``for_model``: what is missing or of another kind may be needed by the model in production."""
    if for_model and name != TARGET:
        return (
            "Deliver the day again; or, if the data are right, accept them: materialize processed of the day by hand"
            " (later days may then be like it). A model that needs what is missing or of another kind cannot score the"
            " day: train one on such days and put it into production (mlops-assets models promote VERSION)"
        )
    by_hand = "processed" if name == TARGET else "processed or predictions"
    return (
        f"Deliver the day again; or, if the data are right, accept them: materialize {by_hand} of the day by hand"
        " (later days may then be like it)"
    )


def _changes(now: Mapping[str, str], then: Mapping[str, str], name: str) -> Iterator[str]:
    if gone := [column for column in then if column not in now]:
        yield f"lacks {_listed(gone)}"
    if new := [column for column in now if column not in then]:
        yield f"also has {_listed(new)}"
    for column, kind in now.items():
        # Codes may all look like numbers one day; they are read as words where the model knows words.
        if kind and (before := then.get(column)) not in {None, "", kind} and (before != WORDS or name == TARGET):
            yield f"has {kind} in column {column!r}, which had {before}"


def _kinds(manifest: Manifest, name: str, limits: CheckLimits) -> dict[str, str]:
    """Column -> kind; the empty kind where there is no value."""
    ignored = limits.ignored_columns if name == DATA else ()
    missing = manifest.metadata.get(MISSING_SHARE[name], {})
    columns = manifest.file(name).columns or {}
    return {
        column: "" if missing.get(column) == 1 else _kind(kind, name)
        for column, kind in columns.items()
        if column not in ignored
    }


def _kind(kind: str, name: str) -> str:
    if kind.startswith("timestamp"):
        return "dates"
    if kind == "string":
        return WORDS
    # To a model, a feature that is true or false is a number; but a class called true is not the class 1.
    return "true/false" if kind == "bool" and name == TARGET else "numbers"


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"the column{'s' if len(names) > 1 else ''} {shown}{more}"
