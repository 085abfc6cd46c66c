"""A daily machine-learning pipeline as Dagster data assets."""
