"""Which version is in production: promotion, rollback and their history.

The truth is MLflow's stage ``Production``; the alias ``champion`` follows it, and every promotion leaves one history
entry. MLflow has no transaction over the three, so a promotion first writes what it is about to do (a pending entry),
then stage, alias, history, and then removes the pending entry. The next call finds a pending entry only after a crash,
and finishes it if the stage had changed, or drops it if not. On SQLite a file lock serializes promotions; on a server,
run one promotion at a time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mlops_assets.tracking import history as log
from mlops_assets.tracking.entities import Promotion, Version
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.versions import Versions, to_version

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

STAGE = "Production"
ALIAS = "champion"
ANY = -1
"""In the place of a version: whichever it is."""
_logger = logging.getLogger(__name__)


class Promotions(Versions):
    """The versions of one registered model, and which of them is in production."""

    def production(self) -> Version | None:
        """The version in stage ``Production``, if any; repairs what a crash left incomplete."""
        model = self._settled()
        return _in_production(model) if model else None

    def in_production(self) -> Version | None:
        """The same as it is written now: repairs nothing, so it may be asked at any time, also during a promotion."""
        model = self._read()
        return _in_production(model) if model else None

    def history(self) -> list[Promotion]:
        """All promotions and rollbacks, oldest first."""
        model = self._settled()
        return log.read(model.tags) if model else []

    def in_service(self) -> tuple[list[int], int | None]:
        """The versions in stage ``Production`` and the one with the alias, as they are: nothing is repaired."""
        with self._connection.exclusive():  # a promotion in progress would look like a fault
            staged = [version.number for version in self.versions() if version.stage == STAGE]
            model = self._read()
        alias = model.aliases.get(ALIAS) if model else None
        return staged, None if alias is None else int(alias)

    def promote(
        self,
        version: int | Version,
        *,
        reason: str,
        by: str,
        scores: Mapping[str, object] | None = None,
        judged_against: int | None = ANY,
    ) -> Promotion:
        """Put a version into production and archive the one before.

        Promoting the version that is in production already changes nothing: the entry that put it there is returned
        with ``changed=False``, and no history is written. So a repeated call after a crash or a retry is harmless.

        Args:
            version: Version or its number.
            reason: Why, for people.
            by: Who or what promotes.
            scores: What the decision was based on; JSON values, left out of the history if too long.
            judged_against: The version that must still be in production; None: none must be.

        Raises:
            TrackingError: No such version, another one went into production in between, or MLflow refused.
        """
        number = version.number if isinstance(version, Version) else int(version)
        with self._connection.exclusive():
            serving = _in_production(model) if (model := self._repaired(self._read())) else None
            serves = serving.number if serving else None
            if judged_against not in (ANY, serves) and serves != number:
                raise TrackingError(
                    f"Version {number} of model {self._name!r} was not promoted: it was judged against version"
                    f" {judged_against or 'none'}, and version {serves or 'none'} is in production now. Judge it again."
                )
            return self._promote(Promotion(_now(), by, reason, None, number, dict(scores or {})))

    def rollback(self, *, reason: str, by: str) -> Promotion:
        """Restore the version that was in production before; a second rollback goes one further back.

        Args:
            reason: Why, for people.
            by: Who or what rolls back.

        Raises:
            TrackingError: There is no earlier version, or MLflow refused.
        """
        with self._connection.exclusive():
            model = self._repaired(self._read())
            serving = _in_production(model) if model else None
            number = serving.number if serving else None
            existing = {known.number for known in self.versions()}
            stack = log.before(log.read(model.tags)) if model else []
            while stack and (stack[-1] == number or stack[-1] not in existing):
                stack.pop()
            if not stack:
                raise TrackingError(self._nothing_before(number))
            return self._promote(Promotion(_now(), by, reason, None, stack[-1], rollback=True))

    def _nothing_before(self, number: int | None) -> str:
        why = f"no version was in production before version {number}" if number else "no version was ever in production"
        where = self._connection.config.safe_uri
        return f"Model {self._name!r} at {where} cannot be rolled back: {why}. Promote the version you want instead."

    def _promote(self, promotion: Promotion) -> Promotion:
        """Write the pending entry, stage, alias, history; the lock is held."""
        target = self.version(promotion.to_version)
        model = self._repaired(self._read())
        if model is None:
            raise AssertionError
        serving = _in_production(model)
        if serving and serving.number == target.number:
            _logger.info("Version %s of model %r is in production already.", target.number, self._name)
            done = [past for past in log.read(model.tags) if past.to_version == target.number]
            return replace(done[-1] if done else promotion, changed=False)
        before = serving.number if serving else None
        promotion = replace(promotion, from_version=before, trained_through=target.trained_through)
        number = log.next_number(model.tags)
        with self._connection.errors(f"promote version {target.number}"):
            self._connection.client.set_registered_model_tag(self._name, log.PENDING, log.encode(number, promotion))
            self._set_stage(target.number)
            self._finish(number, promotion)
        return promotion

    def _finish(self, number: int, promotion: Promotion) -> None:
        """The writes after the change of stage; safe to repeat."""
        client = self._connection.client
        client.set_registered_model_alias(self._name, ALIAS, str(promotion.to_version))
        client.set_registered_model_tag(self._name, log.key(number), log.encode(number, promotion))
        client.delete_registered_model_tag(self._name, log.PENDING)

    def _set_stage(self, number: int) -> None:
        with warnings.catch_warnings():
            # Stages are what the users asked for; this is the one place that uses them.
            warnings.filterwarnings("ignore", message=".*transition_model_version_stage.*", category=FutureWarning)
            self._connection.client.transition_model_version_stage(
                self._name, str(number), STAGE, archive_existing_versions=True
            )

    def _read(self) -> RegisteredModel | None:
        client = self._connection.client  # before the import: connecting sets switches that MLflow reads there
        from mlflow.exceptions import MlflowException

        with self._connection.errors("read the registered model"):
            try:
                return client.get_registered_model(self._name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def _settled(self) -> RegisteredModel | None:
        """The registered model with stage, alias and history in agreement."""
        model = self._read()
        if model is None or _agree(model):
            return model
        with self._connection.exclusive():
            return self._repaired(self._read())

    def _repaired(self, model: RegisteredModel | None) -> RegisteredModel | None:
        """Finish or drop a promotion that a crash interrupted, then let the alias follow the stage."""
        if model is None or _agree(model):
            return model
        serving = _in_production(model)
        client = self._connection.client
        _logger.warning("Stage, alias and history of model %r disagree; repairing them.", self._name)
        with self._connection.errors("repair an interrupted promotion"):
            if log.PENDING in model.tags:
                number, promotion = log.decode(model.tags[log.PENDING])
                if serving and serving.number == promotion.to_version:
                    self._finish(number, promotion)
                else:
                    client.delete_registered_model_tag(self._name, log.PENDING)
            if serving:
                client.set_registered_model_alias(self._name, ALIAS, str(serving.number))
            elif ALIAS in model.aliases:
                client.delete_registered_model_alias(self._name, ALIAS)
        return self._read()


def _in_production(model: RegisteredModel) -> Version | None:
    return next((to_version(entity) for entity in model.latest_versions if entity.current_stage == STAGE), None)


def _agree(model: RegisteredModel) -> bool:
    serving = _in_production(model)
    expected = str(serving.number) if serving else None
    alias = model.aliases.get(ALIAS)
    return log.PENDING not in model.tags and (str(alias) if alias is not None else None) == expected


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
