"""From settings to parts, from parts to Dagster definitions."""
