"""Versions of a registered model: registering once per recipe, finding. Which one serves: `promotions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mlops_assets.tracking.entities import DS_TAG, MODEL_ID_TAG, RECIPE_TAG, SHA256_TAG, Version
from mlops_assets.tracking.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from mlops_assets.tracking.client import Connection

_PAGE = 1000


class Versions:
    """The versions of one registered model."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection; nothing is opened yet."""
        self._connection = connection
        self._name = connection.config.model_name

    def versions(self) -> list[Version]:
        """All versions that were not deleted, by number."""
        return sorted(self._search(), key=lambda version: version.number)

    def version(self, number: int) -> Version:
        """One version by its number.

        Raises:
            TrackingError: There is no such version; the message lists those that exist.
        """
        found = next(self._search(f" AND version_number = {int(number)}"), None)
        if found is None:
            known = ", ".join(str(version.number) for version in self.versions()[-10:]) or "none"
            raise TrackingError(
                f"Model {self._name!r} has no version {number} at {self._connection.config.safe_uri}. Its last "
                f"versions are: {known}. Choose one of these, or train a model first."
            )
        return found

    def find(self, recipe: str) -> Version | None:
        """The first version of this recipe, archived ones included; ``None`` when it was never registered."""
        found = self._search(f" AND tags.`{RECIPE_TAG}` = '{recipe}'")
        return min(found, key=lambda version: version.number, default=None)

    def recipes(self) -> dict[str, Version]:
        """The first version of each recipe, archived ones included."""
        return {version.recipe: version for version in reversed(self.versions()) if version.recipe}

    def register(self, location: str, run_id: str, tags: Mapping[str, str], *, model_id: str) -> Version:
        """Register a logged model, once per recipe.

        All tags are written by the call that creates the version, so no crash can leave a version without them.

        Args:
            location: Where the model's artifacts are.
            run_id: MLflow run that trained it.
            tags: Tags, among them the recipe.
            model_id: MLflow's id of the logged model.

        Returns:
            The new version, or the one of this recipe that another process registered first.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        with self._connection.errors("register a model version"):
            created = to_version(self._create(location, run_id, tags, model_id))
        # Of two versions of one recipe that were registered at once the lower stays.
        first = self.find(created.recipe) or created
        if first.number != created.number:
            with self._connection.errors("remove a duplicate model version"):
                self._connection.client.delete_model_version(self._name, str(created.number))
        return first

    def _search(self, condition: str = "") -> Iterator[Version]:
        token: str | None = None
        while True:
            with self._connection.errors("search model versions"):
                page = self._connection.client.search_model_versions(
                    f"name = '{self._name}'{condition}", _PAGE, page_token=token
                )
            yield from map(to_version, page)
            token = page.token
            if not token:
                return

    def _create(self, location: str, run_id: str, tags: Mapping[str, str], model_id: str) -> ModelVersion:
        """Create the version, and the registered model before it when this is the first."""
        from mlflow.exceptions import MlflowException

        client = self._connection.client
        # A store that is opened directly resolves model ids through MLflow's global URI, which is not ours to set.
        is_server = self._connection.config.is_server
        source, known_as = (f"models:/{model_id}", model_id) if is_server else (location, None)
        for attempt in (1, 2):
            try:
                return client.create_model_version(
                    self._name, source, run_id, dict(tags), await_creation_for=0, model_id=known_as
                )
            except MlflowException as error:
                if attempt == 2 or error.error_code != "RESOURCE_DOES_NOT_EXIST":  # noqa: PLR2004 (the last attempt)
                    raise
            self._create_registered_model()
        raise AssertionError

    def _create_registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._connection.client.create_registered_model(self._name)
        except MlflowException as error:
            # Another process created it in between.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def to_version(entity: ModelVersion) -> Version:
    """Our view of MLflow's model version."""
    tags = dict(entity.tags)
    return Version(
        number=int(entity.version),
        name=entity.name,
        ds=tags.get(DS_TAG, ""),
        recipe=tags.get(RECIPE_TAG, ""),
        sha256=tags.get(SHA256_TAG, ""),
        run_id=entity.run_id or "",
        stage=entity.current_stage or "None",
        model_id=tags.get(MODEL_ID_TAG) or entity.model_id or "",
        created=datetime.fromtimestamp(entity.creation_timestamp / 1000, tz=timezone.utc),
        tags=tags,
    )
