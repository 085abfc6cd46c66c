"""The steps: pure functions over tables and models, what each reads and writes, and the one runner for all.

A step opens no file, knows no backend and imports no orchestrator; the runner does the reading, publishing and
recording. ``python -m mlops_assets.runtime STEP`` runs one step without Dagster.
"""
