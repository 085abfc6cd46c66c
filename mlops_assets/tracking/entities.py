"""The values this package takes and returns. Plain data, so no other package needs MLflow's classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

# Tags that `Tracking.record_model` writes.
RECIPE_TAG, SHA256_TAG, DS_TAG, MODEL_ID_TAG = "mlops.recipe", "mlops.sha256", "mlops.ds", "mlops.model_id"
DESCRIPTION_SHA256_TAG = "mlops.description_sha256"
# Tags that the caller gives in `TrainedModel.tags`.
IMAGE_TAG, ENGINE_TAG, LIBRARIES_TAG = "mlops.image", "mlops.engine", "mlops.libraries"
TRAINED_FROM_TAG = "mlops.trained_from"
TRAINED_THROUGH_TAG = "mlops.trained_through"
# Tag that `Registry.record_verdict` writes.
VERDICT_TAG = "mlops.verdict"

BY_GATE = "gate, "
"""How `Promotion.by` begins where the gate promoted."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained model that is to be recorded.

    Attributes:
        ds: Partition key (``YYYY-MM-DD``) it was trained for.
        recipe: Identity of the training: one version per recipe.
        sha256: SHA-256 (hex) of the file, as the training step reported it.
        file: The model's file in skops' format.
        description: Content of ``model.json``: columns, output, example, requirements, libraries, …
        params: Parameters of the run.
        tags: More tags of the run and of the version.
        dagster_run_id: Lets `Tracking.close_runs` find the run after a crash; empty: none.
    """

    ds: str
    recipe: str
    sha256: str
    file: Path
    description: Mapping[str, Any]
    params: Mapping[str, object]
    tags: Mapping[str, str]
    dagster_run_id: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the gate decided about a version.

    Attributes:
        outcome: ``promoted``, ``rejected`` (both final) or ``undecided`` (judged again when ``basis`` has changed).
        reason: Why, for people.
        basis: Identity of what was judged on (held-out rows, champion).
        at: ISO 8601, UTC.
        scores: What the decision was based on; JSON values.
    """

    outcome: str
    reason: str
    basis: str
    at: str
    scores: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether the version is never judged again."""
        return self.outcome != "undecided"


@dataclass(frozen=True)
class Version:
    """One version of the registered model.

    Attributes:
        number: Version number, from 1.
        name: Registered model's name.
        ds: Partition key (``YYYY-MM-DD``) it was trained for; empty if it was registered by hand.
        recipe: Identity of the training; empty if it was registered by hand.
        sha256: SHA-256 (hex) of the model's file; empty if it was registered by hand.
        run_id: MLflow run that trained it.
        stage: ``None``, ``Staging``, ``Production`` or ``Archived`` (MLflow's names).
        model_id: MLflow's logged model; empty if unknown.
        created: When it was registered, UTC.
        tags: All of its tags.
    """

    number: int
    name: str
    ds: str
    recipe: str
    sha256: str
    run_id: str
    stage: str
    model_id: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it was recorded by this package, not registered by hand."""
        return bool(self.recipe and self.sha256)

    @property
    def image(self) -> str:
        """Id of the image that trained it; empty if it was trained without one."""
        return self.tags.get(IMAGE_TAG, "")

    @property
    def engine(self) -> str:
        """Engine that trained it and can load it (``sklearn``, …); empty if unknown."""
        return self.tags.get(ENGINE_TAG, "")

    @property
    def libraries(self) -> dict[str, str]:
        """Library to version, of what it was trained with; empty if unknown."""
        content = _parsed(self.tags.get(LIBRARIES_TAG, ""))
        return {str(name): str(version) for name, version in content.items()}

    @property
    def trained_from(self) -> str:
        """The first day whose rows it has seen; empty if unknown."""
        return self.tags.get(TRAINED_FROM_TAG, "")

    @property
    def trained_through(self) -> str:
        """The last day whose rows it has seen; empty if unknown."""
        return self.tags.get(TRAINED_THROUGH_TAG, "")

    @property
    def verdict(self) -> Verdict | None:
        """What the gate decided; ``None``: it has not judged the version (or the tag was edited by hand)."""
        content = _parsed(self.tags.get(VERDICT_TAG, ""))
        try:
            return Verdict(**content) if content else None
        except TypeError:
            return None


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
        rollback: Whether this restored the version before.
        trained_through: The last day whose rows ``to_version`` has seen; empty if unknown.
        changed: False only on what `promote` returns when the version was in production already; never in the history.
    """

    at: str
    by: str
    reason: str
    from_version: int | None
    to_version: int
    scores: Mapping[str, object] = field(default_factory=dict)
    rollback: bool = False
    trained_through: str = ""
    changed: bool = True

    @property
    def is_by_gate(self) -> bool:
        """Whether the gate promoted, and not a person."""
        return self.by.startswith(BY_GATE)


def _parsed(text: str) -> dict[str, Any]:
    """The object in a JSON text; empty for anything else."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
