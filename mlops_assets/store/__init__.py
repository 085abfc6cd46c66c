"""The data root: where each partition lies, how it is published and how it is read back.

Nothing here knows a step, a model or the orchestrator.
"""
