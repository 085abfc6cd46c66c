"""The experiment that all runs go to, created when it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.tracking.errors import TrackingError

if TYPE_CHECKING:
    from mlops_assets.tracking.client import Connection


def experiment_id(connection: Connection) -> str:
    """Id of the configured experiment; two processes may ask at once.

    Raises:
        TrackingError: The experiment was deleted, or MLflow refused.
    """
    config = connection.config
    with connection.errors("open the experiment"):
        client = connection.client
        experiment = client.get_experiment_by_name(config.experiment) or client.get_experiment(_create(connection))
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment {config.experiment!r} at {config.safe_uri} was deleted. Restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or choose another name "
            "(MLOPS_EXPERIMENT)."
        )
    return str(experiment.experiment_id)


def _create(connection: Connection) -> str:
    from mlflow.exceptions import MlflowException

    config, client = connection.config, connection.client
    try:
        location = _location(config.artifact_root, config.is_server)
        return str(client.create_experiment(config.experiment, artifact_location=location))
    except MlflowException as error:
        # Somebody else was faster.
        known = client.get_experiment_by_name(config.experiment)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or known is None:
            raise
        return str(known.experiment_id)


def _location(artifact_root: str | None, is_server: bool) -> str | None:
    """Where artifacts go: a server decides for itself."""
    if artifact_root is None or is_server:
        return None
    return artifact_root if "://" in artifact_root else str(Path(artifact_root).absolute())
