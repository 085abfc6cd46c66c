"""Importing this imports the parts of MLflow that tracking uses, which otherwise happens at the first call."""

from mlops_assets.tracking.client import set_process_switches

set_process_switches()

import mlflow.store.model_registry.sqlalchemy_store  # noqa: E402
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401
