"""An outbox in a folder of its own, servers, and the sensor as the daemon evaluates it."""

from __future__ import annotations

import io
import logging

import dagster as dg
import pytest
from alert_servers import mail_server, web_sink

from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.message import KINDS
from mlops_assets.alerts.outbox import Outbox
from mlops_assets.alerts.sensor import Alerting, build_alert_sensors
from mlops_assets.names import Names


class Watch:
    """The sensor, evaluated again and again as the daemon does, with its cursor."""

    def __init__(self, alerting, instance):
        (self.sensor,) = build_alert_sensors(alerting)
        self.instance, self.cursor = instance, None

    def tick(self, *, killed=False):
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.sensor.evaluate_tick(context)
        if not killed:
            self.cursor = result.cursor
        return result.skip_message


@pytest.fixture
def watch(instance, sink, tmp_path):
    """A sensor that has been evaluated once; keyword arguments change attributes of `Alerting`."""

    def make(pipeline="", **changes):
        names = Names(pipeline)
        parts = {
            "outbox": Outbox(tmp_path / "home" / f"{names.of('alerts')}.db"),
            "channels": Channels([sink.url]),
            "kinds": frozenset(KINDS),
            "dagster_url": "http://127.0.0.1:3000",
            "seconds": 5,
        }
        watch = Watch(Alerting(names, **{**parts, **changes}), instance)
        assert watch.tick() == "Nothing new."
        return watch

    return make


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "home" / "alerts.db")


@pytest.fixture
def mail():
    with mail_server() as server:
        yield server


@pytest.fixture
def sink():
    with web_sink() as server:
        yield server


@pytest.fixture
def logged():
    """The log so far of a process that logs at every level."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.setLevel(before)
    root.removeHandler(handler)
