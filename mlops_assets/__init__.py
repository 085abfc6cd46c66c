"""A daily machine-learning pipeline as Dagster data assets."""

__version__ = "0.1.0"
