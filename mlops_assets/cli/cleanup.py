"""``mlops-assets cleanup``."""

from __future__ import annotations

from contextlib import closing

from mlops_assets.cli.console import console, print_json
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_backend


def run_cleanup(*, as_json: bool) -> None:
    """Remove what finished runs left behind, and list it."""
    from mlops_assets.cli.instance import open_instance
    from mlops_assets.housekeeping.cleanup import clean_up

    settings = Settings()
    with closing(build_backend(settings)) as backend, open_instance(settings) as instance:
        removed = clean_up(instance, backend)
        elsewhere = backend.leaves_processes
    if as_json:
        print_json({"removed": removed})
    elif removed:
        for line in removed:
            console.print(f"removed {line}", markup=False)
    elif elsewhere:
        console.print("Nothing was left behind.")
    else:
        console.print("Steps run on this machine and end with the command that started them (MLOPS_BACKEND=inprocess).")
