"""Run one step: ``python -m mlops_assets.runtime``, the entry point of the images.

Reads an order from standard input, one line of JSON (docs/step-contract.md). Without Dagster Pipes it answers with a
line of JSON a partition on standard output. Exit codes: 0 done, 1 a partition failed, 2 no order was understood.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import closing, suppress

from mlops_assets.runtime.pipes import Order, Work, answers, serve
from mlops_assets.steps.catalog import STEPS

_MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mlops_assets.runtime",
        description="Run one step: an order, one line of JSON, is read from standard input.",
    )
    parser.add_argument("--prepare", choices=STEPS, metavar="STEP", help="import what this step uses, before the order")
    parser.add_argument("--data-root", default="", help="with --prepare: the data root of the order to come")
    parser.add_argument("--workers", type=int, default=1, help="with --prepare: processes to start")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with answers() as messages, closing(Work()) as work:
            if options.prepare:
                with suppress(Exception):  # it fails again, and is reported, when it matters
                    work.prepare(options.prepare, options.data_root, options.workers)
            with open(0, "rb", closefd=False) as orders:  # a descriptor
                line = orders.readline()
            if not line and options.prepare:
                return 0  # nothing was ordered
            try:
                order = Order.from_line(line)
            except ValueError as error:
                print(error, file=sys.stderr)  # noqa: T201
                return _MISUSE
            return serve(order, work, messages)
    except KeyboardInterrupt:  # stopped from outside, which needs no traceback
        return 128 + signal.SIGINT


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
