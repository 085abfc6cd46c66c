"""Run one step without Dagster: ``python -m mlops_assets.runtime STEP --partition YYYY-MM-DD …``.

Settings come from the environment, as everywhere. Prints one line of JSON a day on standard output. Exit codes: 0 done,
1 a day failed, 2 misuse. With ``--pipes N`` Dagster says for which N days, and gets the results (Dagster Pipes).
"""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsAssetsError, SettingsError
from mlops_assets.runtime.preload import preload
from mlops_assets.runtime.runner import Runner
from mlops_assets.settings import Settings, load_env_file
from mlops_assets.steps.catalog import PROMOTE, STEPS, UNPARTITIONED
from mlops_assets.wiring.assembly import build_store, build_tracking

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlops_assets.runtime", description="Run one step.")
    parser.add_argument("step", choices=[*STEPS, PROMOTE])
    parser.add_argument(
        "--partition", action="append", default=[], type=_day, metavar="YYYY-MM-DD", help="a day; may be repeated"
    )
    parser.add_argument("--pipes", type=int, metavar="N", help="started by Dagster Pipes, which will say which N days")
    options = parser.parse_args(arguments)
    if not options.partition and options.step != PROMOTE and options.pipes is None:
        parser.error("--partition is missing: for which day?")
    load_env_file()
    try:
        return _run(options.step, options.partition) if options.pipes is None else _serve(options.step, options.pipes)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except MlopsAssetsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


def _day(text: str) -> str:
    try:
        if dt.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a day written as YYYY-MM-DD")


def _user() -> str:
    """Who asks. A container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _serve(step: str, days: int) -> int:
    from mlops_assets.runtime.pipes import serve
    from mlops_assets.wiring.assembly import build_local_backend

    def build() -> tuple[Backend, Callable[[], None]]:
        settings = Settings()
        tracking = build_tracking(settings)
        backend = build_local_backend(settings, tracking)

        def get_ready() -> None:
            backend.prepare([_asset(step)], [""] * days)
            if step == PROMOTE or STEPS[step].uses_tracking:
                tracking.connect()

        return backend, get_ready

    try:
        return serve(build)
    except KeyboardInterrupt:  # told to stop, which needs no traceback
        return 128 + signal.SIGINT


def _asset(step: str) -> str:
    return UNPARTITIONED if step == PROMOTE else STEPS[step].asset


def _run(step: str, partitions: Sequence[str]) -> int:
    settings = Settings()
    preload([_asset(step)])
    store, tracking = build_store(settings), build_tracking(settings)
    if step == PROMOTE:
        from mlops_assets.assets.promotion import promote

        print(json.dumps(promote(store, tracking, settings.parameters(), by=_user())))  # noqa: T201
        return 0
    code = 0
    for result in Runner(store, tracking, settings.parameters()).run(step, partitions):
        print(json.dumps(asdict(result), ensure_ascii=False), flush=True)  # noqa: T201
        code = 1 if result.error else code
    return code


if __name__ == "__main__":
    sys.exit(main())
