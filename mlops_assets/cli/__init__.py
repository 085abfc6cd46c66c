"""The command line ``mlops-assets``: a module a command; ``console``, ``instance`` and ``runs`` are shared."""

from mlops_assets.cli.app import main

__all__ = ["main"]
