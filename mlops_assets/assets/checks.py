"""The asset checks in Dagster: what its UI shows of the verdicts.

A run makes many days and Dagster has one result of a check for it. A check that Dagster itself took for blocking would
stop all days of the run because of one, and could not stop a later run; so none is, and it is the verdicts that stop a
day. Checks have no partitions either: those of Dagster 1.13 are a preview, and a run over a range has one result
without a partition.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the check as objects.
from collections.abc import Sequence

import dagster as dg

from mlops_assets.assets.production import Champion
from mlops_assets.checks.output_rules import fault_in_production
from mlops_assets.checks.raw_data_rules import CheckLimits
from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import CHECKS, Check, Verdict, judge
from mlops_assets.runtime.request import PartitionResult
from mlops_assets.store.local import LocalStore
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.tracker import Tracking

ONE_VERSION, REACHABLE = "one_production_version", "mlflow_reachable"

_DAYS_NAMED = 10
_DAYS_IN_TABLE = 100


def check_specs(asset: str, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """What Dagster knows of the checks of an asset."""
    if asset == "production_model":
        return production_check_specs(key)
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=key,
            description=_with_what_it_stops(check),
            metadata={"blocks": ", ".join(check.blocks) or "nothing"},
        )
        for check in CHECKS.get(asset, ())
    ]


def _with_what_it_stops(check: Check) -> str:
    """Dagster's UI calls all of these checks not blocking, because a run goes on for its other days."""
    if not check.blocks:
        return check.description
    return f"{check.description} Of a day that fails, {' and '.join(check.blocks)} are not made; other days go on."


def verdicts_on(store: LocalStore, asset: str, done: Sequence[PartitionResult], limits: CheckLimits) -> list[Verdict]:
    """The verdicts on the days that a step has just published, wherever it ran."""
    if asset not in CHECKS:
        return []
    records = Records.of(store)
    days = sorted(result.partition for result in done)
    return [verdict for ds in days for verdict in judge(asset, ds, records, limits)]


def check_results(key: dg.AssetKey, verdicts: Sequence[Verdict]) -> list[dg.AssetCheckResult]:
    """One result for each check of an asset; it passed if all days did."""
    return [
        _result(key, check, [one for one in verdicts if one.check == check.name])
        for check in CHECKS.get(key.path[-1], ())
    ]


def report_checks(context: dg.AssetExecutionContext, results: Sequence[dg.AssetCheckResult]) -> None:
    """Record results of a step that is about to fail: Dagster drops the return value of a failed step."""
    for one in results:
        assert one.asset_key is not None  # noqa: S101  # `check_results` names both
        assert one.check_name is not None  # noqa: S101
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=one.asset_key,
                check_name=one.check_name,
                passed=one.passed,
                metadata=one.metadata,
                severity=one.severity,
                description=one.description,
            )
        )


def production_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of ``production_model``."""
    return [
        dg.AssetCheckSpec(
            ONE_VERSION,
            asset=key,
            description="Exactly one version is in MLflow's stage Production, and it has the alias champion.",
        ),
        dg.AssetCheckSpec(REACHABLE, asset=key, description="MLflow could be asked which version serves."),
    ]


def production_checks(
    key: dg.AssetKey, tracking: Tracking, champion: Champion | None, away: str = ""
) -> list[dg.AssetCheckResult]:
    """Judge what was resolved; ``away`` is why MLflow could not be asked, if there is no champion to say so."""
    away = champion.mlflow_away if champion else away
    fault, metadata = "", {}
    if not away:
        try:
            staged, alias = tracking.registry.in_service()
        except TrackingError as error:
            away = str(error)
        else:
            metadata = {"in stage Production": ", ".join(map(str, staged)), "alias champion": str(alias or "")}
            fault = fault_in_production(staged, alias, tracking.config.model_name)
    warn = dg.AssetCheckSeverity.WARN
    return [
        dg.AssetCheckResult(
            passed=not fault,
            asset_key=key,
            check_name=ONE_VERSION,
            severity=warn if champion is None else dg.AssetCheckSeverity.ERROR,
            description=fault
            or ("not checked: MLflow is away" if away else f"Version {metadata['alias champion']} serves."),
            metadata=metadata,
        ),
        dg.AssetCheckResult(
            passed=not away,
            asset_key=key,
            check_name=REACHABLE,
            severity=warn,
            description=f"The champion that was resolved last serves for a day. {away}" if away else "",
        ),
    ]


def _result(key: dg.AssetKey, check: Check, verdicts: Sequence[Verdict]) -> dg.AssetCheckResult:
    failed = [one for one in verdicts if not one.passed]
    return dg.AssetCheckResult(
        passed=not failed,
        asset_key=key,
        check_name=check.name,
        severity=dg.AssetCheckSeverity.WARN if check.is_warning else dg.AssetCheckSeverity.ERROR,
        description=_described(failed, verdicts),
        metadata={"days": _table([*failed, *(one for one in verdicts if one.passed)])} if verdicts else {},
    )


def _described(failed: Sequence[Verdict], verdicts: Sequence[Verdict]) -> str:
    if not failed:
        return f"{len(verdicts)} of {len(verdicts)} days passed."
    shown = "\n".join(f"{one.partition}: {one.message}" for one in failed[:_DAYS_NAMED])
    more = f"\n… and {len(failed) - _DAYS_NAMED} more" if len(failed) > _DAYS_NAMED else ""
    return f"{len(failed)} of {len(verdicts)} days failed:\n{shown}{more}"


def _table(verdicts: Sequence[Verdict]) -> dg.TableMetadataValue:
    """The days, those that failed first."""
    columns = [dg.TableColumn("day"), dg.TableColumn("passed", "bool"), dg.TableColumn("facts"), dg.TableColumn("note")]
    records = [
        dg.TableRecord(
            {
                "day": one.partition,
                "passed": one.passed,
                "facts": _facts(one),
                "note": one.message if one.passed else "",
            }
        )
        for one in verdicts[:_DAYS_IN_TABLE]
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))


def _facts(verdict: Verdict) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{fact} {value}" for fact, value in facts.items())
        for name, facts in verdict.facts.items()
    )
