"""Which model serves: resolved from the registry; remembered for a day in which MLflow is away."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MlopsAssetsError
from mlops_assets.runtime.request import ModelFile
from mlops_assets.store.layout import MODEL, MODEL_FILES, version_key
from mlops_assets.store.publish import sha256
from mlops_assets.tracking.errors import TrackingAwayError, TrackingError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.entities import Version
    from mlops_assets.tracking.tracker import Tracking

SERVES_WITHOUT_MLFLOW = dt.timedelta(hours=36)
"""So long after it was resolved a champion serves while MLflow is away: longer than a day, for the next daily run."""

_logger = logging.getLogger(__name__)


class NoProductionModelError(MlopsAssetsError):
    """There is no model to predict with."""


@dataclass(frozen=True)
class Champion:
    """The model that serves.

    Attributes:
        name: Registered model.
        number: Its version.
        trained_for: The partition that it was trained as.
        trained_through: The last day that it has seen.
        run_id: MLflow run that trained it.
        file: What the steps need of it.
        resolved_at: When the registry was asked, ISO 8601 in UTC.
        pinned: Whether a setting, and not the registry, chose it.
        mlflow_away: Why the registry could not be asked now; empty if it could.
        links: Addresses in MLflow's UI, by name.
    """

    name: str
    number: int
    trained_for: str
    trained_through: str
    run_id: str
    file: ModelFile
    resolved_at: str
    pinned: bool = False
    mlflow_away: str = ""
    links: Mapping[str, str] = field(default_factory=dict)


class Production:
    """Resolves the model that serves."""

    def __init__(self, tracking: Tracking, store: LocalStore, home: Path, pinned: int | None = None) -> None:
        """Nothing is opened until first use.

        Args:
            tracking: The registry.
            store: The data root; steps find the model's file there.
            home: Where the last answer of the registry is kept: only this code writes there, so it can be trusted.
            pinned: A version that serves instead of the one in production.
        """
        self._tracking, self._store, self._pinned = tracking, store, pinned
        self._memory = home / "champions" / f"{tracking.config.model_name}.json"
        self._of_run: tuple[str, Champion | None] | None = None

    def resolve(self, run_id: str, *, anew: bool = False) -> Champion | None:
        """The model that serves; None if no version is in production. A run gets one answer.

        Args:
            run_id: The Dagster run.
            anew: Ask again, because this run may have changed it.

        Raises:
            TrackingError: MLflow refused or is away, and no champion is known that was resolved lately.
        """
        if anew or not run_id or self._of_run is None or self._of_run[0] != run_id:
            self._of_run = run_id, self._resolved()
        return self._of_run[1]

    def as_of(self, days: Sequence[str]) -> dict[str, ModelFile]:
        """Day -> the model of :meth:`Registry.as_of`, after its file was put below the data root.

        Raises:
            TrackingError: MLflow cannot be asked.
        """
        return {ds: self.model_file(version) for ds, version in self._tracking.registry.as_of(days).items()}

    def require(self, run_id: str) -> Champion:
        """The model that serves.

        Raises:
            NoProductionModelError: No version is in production.
        """
        champion = self.resolve(run_id)
        if champion is None:
            raise NoProductionModelError(self._nothing_serves())
        return champion

    def current(self) -> Version | None:
        """The version that serves, as the registry says now: one read that changes nothing, for those who ask often.

        Raises:
            TrackingError: MLflow refused or is away.
        """
        registry = self._tracking.registry
        self._tracking.ping()  # known in seconds; MLflow's own retries take minutes
        return registry.in_production() if self._pinned is None else registry.version(self._pinned)

    def champion(self, version: Version) -> Champion:
        """A version as the one that serves, after its file was put below the data root.

        Raises:
            TrackingError: Its file is missing or was changed, or MLflow refused or is away.
        """
        return Champion(
            name=version.name,
            number=version.number,
            trained_for=version.ds,
            trained_through=version.trained_through or version.ds,
            run_id=version.run_id,
            file=self.model_file(version),
            resolved_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            pinned=self._pinned is not None,
            links=self._tracking.links(version),
        )

    def remember(self, champion: Champion) -> None:
        """Keep it for times in which MLflow is away."""
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        draft = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
        draft.write_text(json.dumps(asdict(champion)), encoding="utf-8")
        draft.replace(self._memory)

    @property
    def remembers(self) -> bool:
        """Whether a version served when the registry was asked last; MLflow is not needed to know it."""
        return self._memory.is_file()

    def forget(self) -> None:
        """Nothing is in production: nothing serves while MLflow is away either."""
        self._memory.unlink(missing_ok=True)

    def remembered(self, error: TrackingError) -> Champion:
        """The champion that was remembered last, if that is not long ago.

        Args:
            error: Why the registry cannot be asked; raised if there is none.
        """
        try:
            content: dict[str, Any] = json.loads(self._memory.read_text(encoding="utf-8"))
            champion = Champion(**{**content, "file": ModelFile(**content["file"])})
            age = dt.datetime.now(dt.timezone.utc) - dt.datetime.fromisoformat(champion.resolved_at)
            is_there = sha256(self._store.root / champion.file.path) == champion.file.sha256
        except (OSError, DataError, ValueError, TypeError, KeyError):
            raise error from None
        chosen = champion.number if champion.pinned else None
        if age > SERVES_WITHOUT_MLFLOW or not is_there or self._pinned != chosen:
            raise error
        _logger.warning("Version %s, resolved %s, still serves: %s", champion.number, champion.resolved_at, error)
        return replace(champion, mlflow_away=str(error))

    def model_file(self, version: Version) -> ModelFile:
        """A version's model as steps get it, after its file was put below the data root."""
        folder = f"{MODEL_FILES}/{version_key(version.number)}-{version.sha256[:12]}"
        self._tracking.registry.fetch(version, self._store.root / folder)
        return self.described(version, f"{folder}/{MODEL}")

    def described(self, version: Version, path: str) -> ModelFile:
        """A version's model at a path below the data root."""
        return ModelFile(
            path=path,
            sha256=version.sha256,
            recipe=version.recipe,
            name=f"version {version.number} of model {version.name!r}",
            libraries=version.libraries,
            image=version.image,
            facts={
                "model_name": version.name,
                "model_version": version.number,
                "model_sha256": version.sha256,
                "trained_for": version.ds,
                "trained_from": version.trained_from or version.ds,
                "trained_through": version.trained_through or version.ds,
            },
        )

    def _resolved(self) -> Champion | None:
        registry = self._tracking.registry
        try:
            version = registry.production() if self._pinned is None else registry.version(self._pinned)
        except TrackingError as error:
            if self._pinned is not None and not error.can_retry:
                raise  # the pinned version does not exist: a champion must not serve in its place
            return self.remembered(error)
        if version is None:
            self.forget()
            return None
        try:
            champion = self.champion(version)
        except TrackingAwayError as error:
            return self.remembered(error)
        self.remember(champion)
        return champion

    def _nothing_serves(self) -> str:
        newest = max(self._tracking.registry.versions(), key=lambda one: one.number, default=None)
        name = self._tracking.config.model_name
        if newest is None:
            what = "None is registered. Materialize model, metrics and production_model"
        elif newest.verdict is None:
            what = f"Version {newest.number} was not judged yet. Materialize production_model"
        elif not newest.verdict.is_final:
            what = (
                f"Version {newest.number} could not be judged: {newest.verdict.reason}. It is judged again when there"
                " are other held-out rows"
            )
        else:
            what = (
                f"Version {newest.number} was {newest.verdict.outcome}: {newest.verdict.reason}. Train on more or"
                " better data, or lower MLOPS_GATE_MIN_SCORE"
            )
        promote = "" if newest is None else f"; or promote it anyway: mlops-assets models promote {newest.number}"
        return f"No version of model {name!r} is in stage Production, so predictions are not possible. {what}{promote}"
