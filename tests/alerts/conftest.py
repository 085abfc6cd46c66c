"""An outbox in a folder of its own, and servers."""

from __future__ import annotations

import io
import logging

import pytest
from alert_servers import mail_server, web_sink

from mlops_assets.alerts.outbox import Outbox
from mlops_assets.backends.process_id import is_gone, process_tag


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "home" / "alerts.db", process=process_tag, is_gone=is_gone)


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
    """What a process that logs everything has logged so far."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.setLevel(before)
    root.removeHandler(handler)
