"""Delivering what is in the outbox: a bounded time a call, a target that fails not twice in one call."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.alerts.errors import AlertError

if TYPE_CHECKING:
    from mlops_assets.alerts.channels import Channels
    from mlops_assets.alerts.outbox import Outbox

DELIVERY_SECONDS = 20
"""No further alert is begun after this time; the rest is for the next call."""


@dataclass(frozen=True)
class Delivered:
    """How many alerts were sent, and a line for each that could not be."""

    sent: int
    failed: tuple[str, ...]


def deliver(outbox: Outbox, channels: Channels, clock: Callable[[], float] = time.time) -> Delivered:
    """Send what is due.

    Args:
        outbox: Where the alerts are.
        channels: Where they go.
        clock: The time, in seconds since 1970.
    """
    sent, failed, targets = 0, [], list(channels.ids)
    end = time.monotonic() + DELIVERY_SECONDS
    while targets and time.monotonic() < end:
        delivery = outbox.claim(targets, clock())
        if delivery is None:
            break
        try:
            channels.send(delivery.target, delivery.alert)
        except AlertError as error:
            again = outbox.failed(delivery, clock())
            targets.remove(delivery.target)
            fate = "It is tried again." if again else "It was tried for a day and is given up."
            failed.append(f"The alert {delivery.alert.title!r} was not delivered: {error} {fate}")
        else:
            outbox.delivered(delivery)
            sent += 1
    return Delivered(sent, tuple(failed))
