"""The values this package hands out. Plain data, so nobody else needs MLflow's classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class LoggedModel:
    """A model that was uploaded, not registered yet.

    Attributes:
        model_id: MLflow's id (``m-…``).
        uri: Where its artifacts are, as MLflow recorded it.
    """

    model_id: str
    uri: str


@dataclass(frozen=True)
class Version:
    """One version of the registered model.

    Attributes:
        number: Version number, from 1.
        name: Registered model's name.
        ds: Partition key (``YYYY-MM-DD``) it was trained for; empty if somebody registered it by hand.
        digest: SHA-256 (hex) of the fitted content; empty if somebody registered it by hand.
        run_id: MLflow run that trained it.
        stage: ``None``, ``Staging``, ``Production`` or ``Archived`` (MLflow's words).
        model_id: MLflow's logged model; empty if unknown.
        created: When it was registered, UTC.
        tags: All of its tags.
    """

    number: int
    name: str
    ds: str
    digest: str
    run_id: str
    stage: str
    model_id: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """One entry of the promotion history.

    Attributes:
        at: ISO 8601, UTC.
        by: Who or what promoted (a user, a Dagster run).
        reason: Why, for people.
        from_version: Version that was in production before; ``None`` for the first.
        to_version: Version that is in production since.
        scores: What the decision was based on.
        rollback: Whether this took the version before back.
        changed: False only on what `promote` returns when the version was in production already; never in the history.
    """

    at: str
    by: str
    reason: str
    from_version: int | None
    to_version: int
    scores: Mapping[str, object] = field(default_factory=dict)
    rollback: bool = False
    changed: bool = True
