"""The Dagster layer: what Dagster shows, when it runs, and nothing of what the steps do."""
