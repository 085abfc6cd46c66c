"""The asset graph: what Dagster shows of the pipeline, and nothing of what the steps do."""
