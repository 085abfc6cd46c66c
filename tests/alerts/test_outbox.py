"""An alert is delivered once to each target, whenever a process is killed and whichever target is broken."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from alert_servers import assert_no_secret

from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.message import FAILURE, alert
from mlops_assets.alerts.outbox import GIVE_UP_SECONDS, KEEP_SECONDS

NOW = 1_700_000_000.0
DOWN = "json://127.0.0.1:9/x"
SCRIPT = """
import sys, time
from pathlib import Path
from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.message import alert
from mlops_assets.alerts.outbox import Outbox

outbox, targets = Outbox(Path(sys.argv[1])), Channels(sys.argv[2:]).targets
"""


def alerts(*keys):
    return [alert(key, FAILURE, f"title {key}", ["body"]) for key in keys]


def start(tmp_path, code, *arguments):
    path = tmp_path / "home" / "alerts.db"
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + code, str(path), *arguments], stdout=subprocess.PIPE, text=True
    )


def at(now):
    """A clock that shows this time."""
    return lambda: now


def due(tmp_path):
    """When each message in the queue is to be sent next."""
    with closing(sqlite3.connect(tmp_path / "home" / "alerts.db")) as database:
        return [row[0] for row in database.execute("SELECT due FROM queue ORDER BY id")]


def test_an_alert_is_delivered_once_however_often_it_is_added(outbox, sink, tmp_path):
    # given an alert that two ticks have found
    targets = Channels([sink.url]).targets
    assert outbox.add(alerts("one"), targets, NOW) == 1
    assert outbox.add(alerts("one", "two"), targets, NOW + 1) == 1
    # when it is delivered, and delivered again
    assert outbox.deliver(targets).sent == 2
    assert outbox.add(alerts("one"), targets, NOW + 2) == 0
    assert outbox.deliver(targets).sent == 0
    # then each has arrived once
    assert sorted(one["title"] for one in sink.posts) == ["title one", "title two"]
    # and the file is for its owner only, and has no secret
    path = tmp_path / "home" / "alerts.db"
    assert path.stat().st_mode & 0o777 == 0o600
    assert_no_secret(path.read_bytes().decode("latin-1"))


def test_a_broken_target_neither_blocks_nor_repeats_the_others(outbox, sink):
    # given a target that is down, and one that works
    targets = Channels([DOWN, sink.url]).targets
    outbox.add(alerts("one", "two"), targets, NOW)
    # when it is delivered, at once and an hour later
    first = outbox.deliver(targets, at(NOW))
    second = outbox.deliver(targets, at(NOW + 3_600))
    # then the good one has everything once, and the failure names target and reason
    assert [one["title"] for one in sink.posts] == ["title one", "title two"]
    assert (first.sent, second.sent) == (2, 0)
    assert len(first.failed) == len(second.failed) == 1
    assert "'title one' was not delivered: target 1 (json)" in first.failed[0]
    assert first.failed[0].endswith("Will retry.")


def test_a_failed_delivery_waits_longer_each_time_and_is_given_up_after_a_day(outbox, tmp_path):
    # given a target that stays down
    targets = Channels([DOWN]).targets
    outbox.add(alerts("one"), targets, NOW)
    now, pauses = NOW, []
    # when delivery is attempted whenever it is due, and just before
    while True:
        (line,) = outbox.deliver(targets, at(now)).failed
        if not line.endswith("Will retry."):
            break
        (then,) = due(tmp_path)
        assert outbox.deliver(targets, at(then - 1)).failed == ()
        pauses.append(then - now)
        now = then
    # then the pauses grow to an hour, and after a day it gives up
    assert line.endswith("Gave up after a day.")
    assert 20 <= pauses[0] <= 40
    assert pauses[0] < pauses[2] < pauses[4]
    assert max(pauses) <= 3_600 * 1.25
    assert GIVE_UP_SECONDS - 5_000 < now - NOW <= GIVE_UP_SECONDS
    assert due(tmp_path) == []


def test_a_new_target_gets_no_old_alerts_and_old_keys_are_kept_for_a_season(outbox, sink):
    # given an alert from before a target was there
    old, both = Channels([sink.url]).targets, Channels([sink.url, f"{sink.url}/new"]).targets
    outbox.add(alerts("old"), old, NOW)
    # when / then it is not for the new one
    assert outbox.deliver(both).sent == 1
    # and its key is known for a season
    assert outbox.add(alerts("old", "new"), old, NOW + KEEP_SECONDS - 1) == 1
    outbox.add(alerts("newer"), old, NOW + KEEP_SECONDS + 1)
    assert outbox.add(alerts("old"), old, NOW + KEEP_SECONDS + 2) == 1


@pytest.mark.slow
def test_processes_at_once_send_each_alert_once(outbox, sink, tmp_path):
    # given forty alerts for which there is no file yet, and a slow server
    sink.seconds = 0.02
    code = """
keys = [str(number) for number in range(40)]
outbox.add([alert(key, "failure", key, ["body"]) for key in keys], targets, time.time())
done = outbox.deliver(targets)
print(done.sent, len(done.failed))
"""
    # when three processes add and deliver them at the same time
    processes = [start(tmp_path, code, sink.url) for _ in range(3)]
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    # then each has arrived at most once, and once when what a busy machine left over is delivered
    rest = outbox.deliver(Channels([sink.url]).targets).sent
    assert sorted(int(one["title"]) for one in sink.posts) == list(range(40))
    assert sum(int(sent) for sent, _ in answers) + rest == 40
    assert [failed for _, failed in answers] == ["0", "0", "0"]


@pytest.mark.parametrize("moment", ["before it sends", "while it sends"])
def test_a_killed_process_loses_nothing(outbox, sink, tmp_path, moment):
    # given a process that is killed with an alert in the queue, or while it connects to a server that does not answer
    hangs = socket.create_server(("127.0.0.1", 0))
    code = """
outbox.add([alert("one", "failure", "one", ["body"])], targets, time.time())
print("ready", flush=True)
"""
    code += "time.sleep(60)" if moment == "before it sends" else "outbox.deliver(targets)"
    with hangs:
        targets = [f"json://127.0.0.1:{hangs.getsockname()[1]}/x", sink.url]
        process = start(tmp_path, code, *targets)
        assert process.stdout.readline() == "ready\n"
        hangs.settimeout(60)
        connection = hangs.accept()[0] if moment == "while it sends" else None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if connection:
            connection.close()
    # when the next one delivers
    done = outbox.deliver(Channels(targets).targets)
    # then the alert has arrived at the good target, once, and is still queued for the other
    assert (done.sent, len(done.failed), len(due(tmp_path))) == (1, 1, 1)
    assert outbox.deliver(Channels(targets).targets).sent == 0
    assert [one["title"] for one in sink.posts] == ["one"]
