"""The code location that ``workspace.yaml`` names."""

from __future__ import annotations

from mlops_assets.wiring.pipeline import Pipeline

defs = Pipeline().definitions
