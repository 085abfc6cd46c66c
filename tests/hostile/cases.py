"""How many cases a test of generated inputs runs: all in CI, a tenth elsewhere, twenty times as many to hunt for faults
with ``HOSTILE_CASES=20``. Only a hunt has other cases each time: CI must not fail for a change that is not at fault.

In CI 1,400: 450 deliveries, 210 data roots, 500 environments, 240 command lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, settings

_SCALE = float(os.environ.get("HOSTILE_CASES") or (1 if os.environ.get("CI") else 0.1))


def cases(number: int) -> Callable[..., object]:
    """Run a test with so many generated inputs in CI."""
    return settings(
        max_examples=max(1, round(number * _SCALE)),
        derandomize="HOSTILE_CASES" not in os.environ,
        database=None,
        deadline=None,  # no timed test: a hang ends with pytest-timeout
        print_blob=True,
        # Files are read and written in each case, on machines that do other things, too.
        suppress_health_check=[HealthCheck.too_slow],
    )
