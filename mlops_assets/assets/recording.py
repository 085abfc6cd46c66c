"""What the steps leave on the tracking server: a run for each trained model, its metrics, its registered version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_assets.steps.features import kinds_of, model_frame
from mlops_assets.store.layout import METRICS, MODEL, TRAIN
from mlops_assets.tracking.digest import model_digest

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from mlops_assets.runtime.runner import Runner
    from mlops_assets.steps.declaration import Outcome
    from mlops_assets.tracking.entities import Version
    from mlops_assets.tracking.tracker import Tracking

_EXAMPLE_ROWS = 3


def record_model(
    runner: Runner,
    ds: str,
    outcome: Outcome,
    inputs: Mapping[str, Any],
    digests: Mapping[str, str],
    content: bytes,
    *,
    code_version: str,
) -> dict[str, Any]:
    """Log a trained model in a run of its own and register it.

    A model with the content of a version that is registered already is not logged again: running a day twice, or
    again after a crash, gives one version. The version is registered after the run has ended, so a version never
    belongs to an unfinished run.

    Args:
        runner: Who runs the step.
        ds: The model's day.
        outcome: Of ``train``.
        inputs: Of ``train``.
        digests: Of the files that were read.
        content: The model as it is published.
        code_version: Of ``train``.

    Returns:
        See :func:`model_metadata`.
    """
    tracking, pipeline = runner.tracking, outcome.outputs[MODEL]
    digest = model_digest(pipeline)
    tracking.registry.recent.put(digest, pipeline, len(content))
    version = tracking.registry.find_version(digest)
    if version is None:
        tags = {
            "ds": ds,
            "dagster_run_id": runner.run_info.dagster_run_id,
            "data_digest": " ".join(digests.values())[:5_000],
            "code_version": code_version,
            "model_digest": digest,
        }
        tags = {name: value for name, value in tags.items() if value}
        with tracking.model_run(f"model {ds}", tags=tags, parent_run_id=runner.run_info.parent_run_id) as run_id:
            tracking.log_params(run_id, _parameters(pipeline, runner, outcome))
            kinds = kinds_of(pipeline)
            example = model_frame(inputs[TRAIN][-1].slice(0, _EXAMPLE_ROWS), kinds, f"split/{ds}/{TRAIN}")
            logged = tracking.log_model(
                run_id, pipeline, example=example, types=kinds, requirements=_requirements(), content=content
            )
        version = tracking.registry.register(
            logged, run_id, digest=digest, ds=ds, tags={"code_version": code_version}, is_new=True
        )
    return model_metadata(tracking, version)


def record_metrics(tracking: Tracking, model: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Log a model's metrics to the run that trained it.

    Args:
        tracking: The server.
        model: What :func:`record_model` gave for the model.
        outcome: Of ``evaluate``.
    """
    content = outcome.outputs[METRICS]
    defined = {name: value for name, value in content["metrics"].items() if value is not None}
    tracking.log_metrics(model["mlflow_run_id"], defined, model_id=model["mlflow_model_id"])
    tracking.log_dict(model["mlflow_run_id"], content, METRICS)
    return {name: model[name] for name in model if name.startswith(("mlflow_", "model_"))}


def model_metadata(tracking: Tracking, version: Version) -> dict[str, Any]:
    """What traces a file back to a model: name, version, digest, run, and links to MLflow's UI where it has one."""
    links = {
        "mlflow_run_url": tracking.run_url(version.run_id),
        "model_version_url": tracking.version_url(version),
    }
    return {
        "model_name": version.name,
        "model_version": version.number,
        "model_digest": version.digest,
        "mlflow_run_id": version.run_id,
        "mlflow_model_id": version.model_id,
        **{name: url for name, url in links.items() if url},
    }


def _parameters(pipeline: Pipeline, runner: Runner, outcome: Outcome) -> dict[str, Any]:
    params = runner.params
    estimator = {f"estimator__{name}": value for name, value in pipeline.named_steps["estimator"].get_params().items()}
    return {
        "estimator": params.estimator,
        "imputation": params.imputation,
        "seed": params.seed,
        "train_window_days": params.train_window_days,
        "validation_share": params.validation_share,
        "features": outcome.metadata["features"],
        "rows_train": outcome.metadata["rows_train"],
        **estimator,
    }


def _requirements() -> list[str]:
    import numpy as np
    import pandas as pd
    import sklearn
    import skops

    from mlops_assets import __version__

    return [
        f"scikit-learn=={sklearn.__version__}",
        f"skops=={skops.__version__}",
        f"numpy=={np.__version__}",
        f"pandas=={pd.__version__}",
        f"mlops-assets=={__version__}",  # the date features of the preprocessing
    ]
