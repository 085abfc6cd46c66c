"""Versions of a registered model: registering once per digest, finding, loading. Which one serves: `registry`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlops_assets.steps.skops_io import load_model
from mlops_assets.tracking.digest import model_digest
from mlops_assets.tracking.entities import Version
from mlops_assets.tracking.errors import TrackingError, UntrustedModelError
from mlops_assets.tracking.mlflow_format import MODEL_FILE
from mlops_assets.tracking.model_cache import RecentModels

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from sklearn.pipeline import Pipeline

    from mlops_assets.tracking.client import Connection
    from mlops_assets.tracking.entities import LoggedModel

DIGEST_TAG, DS_TAG, MODEL_ID_TAG = "mlops.digest", "mlops.ds", "mlops.model_id"
_PAGE = 1000


class Versions:
    """The versions of one registered model."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection; nothing is opened yet."""
        self._connection = connection
        self._name = connection.config.model_name
        self.recent = RecentModels()

    def find_version(self, digest: str) -> Version | None:
        """The first version with this content, archived ones included; ``None`` when it was never registered."""
        return min(
            self._search(f" AND tags.`{DIGEST_TAG}` = '{digest}'"), key=lambda version: version.number, default=None
        )

    def versions(self) -> list[Version]:
        """All versions that were not deleted, by number."""
        return sorted(self._search(), key=lambda version: version.number)

    def latest(self) -> Version | None:
        """The version of the newest partition; among several of one partition the last registered."""
        return max(self._search(), key=lambda version: (version.ds, version.number), default=None)

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

    def register(
        self,
        logged_model: LoggedModel,
        run_id: str,
        *,
        digest: str,
        ds: str,
        tags: Mapping[str, str],
        is_new: bool = False,
    ) -> Version:
        """Register a logged model, once per content.

        The digest is written by the call that creates the version, so no crash can leave a version without it.

        Args:
            logged_model: What `Tracking.log_model` returned.
            run_id: MLflow run that trained it.
            digest: `model_digest` of the pipeline.
            ds: Partition key it was trained for.
            tags: More tags.
            is_new: The caller has just asked for a version with this digest, and there was none.

        Returns:
            The new version, or the version that has this digest already.

        Raises:
            TrackingError: MLflow refused or cannot be reached.
        """
        if not is_new and (known := self.find_version(digest)) is not None:
            return known
        tags = {**tags, DIGEST_TAG: digest, DS_TAG: ds, MODEL_ID_TAG: logged_model.model_id}
        with self._connection.errors("register a model version"):
            created = to_version(self._create(logged_model, run_id, tags))
        return self._first(created)

    def load(self, version: int | Version) -> Pipeline:
        """Load the pipeline of a version, unless this process still has it. A local artifact is read where it is.

        Args:
            version: Version or its number.

        Raises:
            TrackingError: No such version, no model file, or a content that does not match the registered digest.
            UntrustedModelError: The file holds types we do not trust, or is damaged.
        """
        found = version if isinstance(version, Version) else self.version(version)
        if found.digest and (known := self.recent.get(found.digest)) is not None:
            return known
        pipeline = self._download(found)
        check_digest(pipeline, found)
        return pipeline

    def model_file(self, version: Version) -> Path | bytes:
        """The file of a version: where it is, or its content if it is not on this machine.

        Raises:
            TrackingError: MLflow has no such file.
        """
        local = local_path(self._uri(version))
        if local is not None:
            return local / MODEL_FILE
        with tempfile.TemporaryDirectory() as scratch:
            return self._fetched(self._uri(version), scratch).read_bytes()

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

    def _create(self, logged_model: LoggedModel, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """Create the version, and the registered model before it when this is the first."""
        from mlflow.exceptions import MlflowException

        client = self._connection.client
        # A store that is opened directly resolves model ids through MLflow's global URI, which is not ours to set.
        is_server, model_id = self._connection.config.is_server, logged_model.model_id
        source, known_as = (f"models:/{model_id}", model_id) if is_server else (logged_model.uri, None)
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
            # Somebody else was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _first(self, created: Version) -> Version:
        """Settle a race: of two versions with one digest that were registered at once, the lower stays."""
        first = self.find_version(created.digest) or created
        if first.number != created.number:
            with self._connection.errors("remove a duplicate model version"):
                self._connection.client.delete_model_version(self._name, str(created.number))
        return first

    def _uri(self, version: Version) -> str:
        with self._connection.errors(f"find the files of version {version.number}"):
            uri: str = self._connection.client.get_model_version_download_uri(self._name, str(version.number))
        return uri

    def _download(self, version: Version) -> Pipeline:
        try:
            return load_model(self.model_file(version))
        except FileNotFoundError as error:
            raise TrackingError(
                f"Version {version.number} of model {self._name!r} has no file {MODEL_FILE} at "
                f"{self._connection.config.redact(self._uri(version))}. Expected a model that mlops-assets trained. "
                "Restore the artifacts, or train this partition again."
            ) from error
        except UntrustedModelError as error:
            raise UntrustedModelError(f"Version {version.number} of model {self._name!r}: {error}") from error

    def _fetched(self, uri: str, scratch: str) -> Path:
        from mlflow.artifacts import download_artifacts

        source, tracking_uri = f"{uri}/{MODEL_FILE}", self._connection.config.uri
        with self._connection.errors(f"download {source}"):
            return Path(download_artifacts(source, dst_path=scratch, tracking_uri=tracking_uri))


def check_digest(pipeline: Pipeline, version: Version) -> None:
    """Refuse a pipeline that is not what was registered.

    Raises:
        TrackingError: Its content has another digest.
    """
    if (actual := model_digest(pipeline)) != version.digest:
        raise TrackingError(
            f"Version {version.number} of model {version.name!r} is not what was registered: its content has digest "
            f"{actual[:12]}…, expected {version.digest[:12] or 'a'}… from tag {DIGEST_TAG}. Its file was changed, or "
            "somebody registered it by hand. Roll back to another version, or train this partition again."
        )


def local_path(uri: str) -> Path | None:
    """The directory an artifact URI stands for, or ``None`` when it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "":
        return Path(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def to_version(entity: ModelVersion) -> Version:
    """Our view of MLflow's model version."""
    tags = dict(entity.tags)
    return Version(
        number=int(entity.version),
        name=entity.name,
        ds=tags.get(DS_TAG, ""),
        digest=tags.get(DIGEST_TAG, ""),
        run_id=entity.run_id or "",
        stage=entity.current_stage or "None",
        model_id=tags.get(MODEL_ID_TAG) or entity.model_id or "",
        created=datetime.fromtimestamp(entity.creation_timestamp / 1000, tz=timezone.utc),
        tags=tags,
    )
