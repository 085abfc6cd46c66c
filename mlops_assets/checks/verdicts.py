"""The asset checks: which asset has which, what a failure stops, and the verdict on a day.

Verdicts are pure functions of manifests: cheap, the same for all backends, and to be asked again before a later run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.checks import output_rules, raw_data_rules
from mlops_assets.checks.raw_data_rules import CheckLimits, Finding
from mlops_assets.checks.reference_day import Records, good_days, is_used
from mlops_assets.steps.catalog import STEPS

if TYPE_CHECKING:
    from mlops_assets.store.manifest import Manifest

Rule = Callable[["Manifest", str, "Manifest | None", CheckLimits], Finding]
"""``(manifest, file name, manifest to compare with, limits)``."""


@dataclass(frozen=True)
class Check:
    """One check of an asset.

    Attributes:
        name: Unique within the asset.
        description: What must hold.
        rule: Judges one file of a day.
        blocks: The assets that are not to be made of a day that fails.
        is_warning: Whether a day that fails is used anyway.
        with_fewest_rows: Whether it compares with that good day of a week that has the fewest rows: fewer on each
            Saturday are no fault.
        with_any: Whether a day passes that is like any good day of a week: one that a person accepted must not stop the
            next one that is as all before.
    """

    name: str
    description: str
    rule: Rule
    blocks: tuple[str, ...] = ()
    is_warning: bool = False
    with_fewest_rows: bool = False
    with_any: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a check says of a day.

    Attributes:
        check: Its name.
        asset: Whose.
        partition: The day.
        passed: Whether the day is as expected, or cannot be judged.
        blocks: The assets that are not to be made of the day; empty if it passed.
        message: What is wrong, where, what was expected and what to do; or why nothing was judged.
        facts: File name -> the values that decided.
        at_fault: The files that are not as expected.
    """

    check: str
    asset: str
    partition: str
    passed: bool
    blocks: tuple[str, ...] = ()
    message: str = ""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    at_fault: tuple[str, ...] = ()


_MADE_OF_RAW_DATA = ("processed", "predictions")

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "raw_data": (
        Check(
            "schema",
            "The columns are those of the last good day, or of another one of a week.",
            raw_data_rules.schema,
            _MADE_OF_RAW_DATA,
            with_any=True,
        ),
        Check(
            "row_count",
            "Not far fewer rows than on the smallest of the last seven good days.",
            raw_data_rules.row_count,
            _MADE_OF_RAW_DATA,
            with_fewest_rows=True,
        ),
        Check(
            "missing_values",
            "No column lacks most of its values that had them on the last good day.",
            raw_data_rules.missing_values,
            _MADE_OF_RAW_DATA,
        ),
        Check("unique_ids", "Each id stands there once.", raw_data_rules.unique_ids, is_warning=True),
    ),
    "processed": (Check("classes", "At least two classes to learn from.", output_rules.classes, ("model",)),),
    "predictions": (
        Check("row_count", "As many predictions as rows of raw data.", output_rules.row_count),
        Check("scores", "Scores are finite, from 0 to 1, and add up to 1.", output_rules.scores),
    ),
}
"""The checks of each asset that has any."""


def judge(asset: str, ds: str, records: Records, limits: CheckLimits) -> list[Verdict]:
    """The verdicts of all checks of an asset on a day, in their order; none if nothing is published of it."""
    manifest = records.read(asset, ds)
    if manifest is None or asset not in CHECKS:
        return []
    others = {
        info.name: _compared_with(manifest, info.name, records, limits) for info in manifest.files if not info.problem
    }
    return [_verdict(check, manifest, others, limits) for check in CHECKS[asset]]


def blockers(asset: str, ds: str, records: Records, limits: CheckLimits) -> list[Verdict]:
    """The verdicts that keep an asset from being made of a day.

    Raw data that were processed or predicted in spite of a verdict have been accepted by a person; it blocks no more.
    """
    upstream = [name for name, checks in CHECKS.items() if any(asset in check.blocks for check in checks)]
    verdicts = [verdict for name in upstream for verdict in judge(name, ds, records, limits)]
    return [verdict for verdict in verdicts if asset in verdict.blocks and not _is_accepted(verdict, records)]


def stopped_by(verdicts: Sequence[Verdict]) -> str:
    """What these verdicts say to people whose day they stop."""
    return " ".join(f"Stopped by check {one.check} of {one.asset}: {one.message}" for one in verdicts)


def _chosen(check: Check, good: Sequence[Manifest], name: str) -> Sequence[Manifest | None]:
    """What a file is compared with by a check; None: nothing is known."""
    if check.with_fewest_rows and good:
        return [min(good, key=lambda manifest: manifest.file(name).rows or 0)]
    return (good if check.with_any else good[:1]) or [None]


def _compared_with(manifest: Manifest, name: str, records: Records, limits: CheckLimits) -> Sequence[Manifest]:
    if manifest.asset == "predictions":
        raw = records.read("raw_data", manifest.partition)
        return [] if raw is None else [raw]
    if manifest.asset != "raw_data":
        return []

    def fits(raw: Manifest, before: Manifest) -> bool:
        blocking = [check.rule for check in CHECKS["raw_data"] if check.blocks]
        return not any(rule(raw, name, before, limits).problem for rule in blocking)

    return good_days(records, manifest.partition, name, fits)


def _finding(check: Check, manifest: Manifest, name: str, good: Sequence[Manifest], limits: CheckLimits) -> Finding:
    """What was found in comparison with the first day that it passes with, else with the first."""
    findings = [check.rule(manifest, name, other, limits) for other in _chosen(check, good, name)]
    return next((one for one in findings if not one.problem), findings[0])


def _verdict(
    check: Check, manifest: Manifest, others: Mapping[str, Sequence[Manifest]], limits: CheckLimits
) -> Verdict:
    found = {name: _finding(check, manifest, name, good, limits) for name, good in others.items()}
    at_fault = tuple(name for name, finding in found.items() if finding.problem)
    problems = [finding.problem for finding in found.values() if finding.problem]
    notes = dict.fromkeys(finding.note for finding in found.values() if finding.note)
    return Verdict(
        check.name,
        manifest.asset,
        manifest.partition,
        passed=not problems,
        blocks=tuple(asset for asset in check.blocks if _concerns(asset, manifest.asset, at_fault)),
        message=" ".join(problems) or "; ".join(notes),
        facts={name: finding.facts for name, finding in found.items() if finding.facts},
        at_fault=at_fault,
    )


def _concerns(asset: str, checked: str, at_fault: Sequence[str]) -> bool:
    """Whether an asset is made of files that are at fault: predictions need no target."""
    step = next(step for step in STEPS.values() if step.asset == asset)
    names = [file.name for file in step.inputs if file.asset == checked]  # none: it reads what is made of the files
    return bool(at_fault) and (not names or any(name in names for name in at_fault))


def _is_accepted(verdict: Verdict, records: Records) -> bool:
    raw = records.read("raw_data", verdict.partition) if verdict.asset == "raw_data" else None
    return raw is not None and all(is_used(records, raw, name) for name in verdict.at_fault)
