"""An alert is delivered once to each target, whoever is killed when, whatever target is broken."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from alert_servers import assert_no_secret

from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.delivery import deliver
from mlops_assets.alerts.message import FAILURE, alert
from mlops_assets.alerts.outbox import CLAIM_SECONDS, GIVE_UP_SECONDS, KEEP_SECONDS

NOW = 1_700_000_000.0
SCRIPT = """
import sys, time
from pathlib import Path
from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.delivery import deliver
from mlops_assets.alerts.message import alert
from mlops_assets.alerts.outbox import Outbox
from mlops_assets.backends.process_id import is_gone, process_tag

outbox, channels = Outbox(Path(sys.argv[1]), process=process_tag, is_gone=is_gone), Channels(sys.argv[3:])
"""


def alerts(*keys):
    return [alert(key, FAILURE, f"title {key}", ["body"]) for key in keys]


def start(tmp_path, code, *arguments):
    path = tmp_path / "home" / "alerts.db"
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + code, str(path), *arguments], stdout=subprocess.PIPE, text=True
    )


def test_an_alert_is_delivered_once_however_often_it_is_added(outbox, sink, tmp_path):
    # given an alert that two looks have seen
    channels = Channels([sink.url])
    assert outbox.add(alerts("one"), channels.ids, NOW) == 1
    assert outbox.add(alerts("one", "two"), channels.ids, NOW + 1) == 1
    # when it is delivered, and delivered again
    assert deliver(outbox, channels).sent == 2
    assert outbox.add(alerts("one"), channels.ids, NOW + 2) == 0
    assert deliver(outbox, channels).sent == 0
    # then each has arrived once
    assert sorted(one["title"] for one in sink.posts) == ["title one", "title two"]
    # and the file is for its owner only, and has no secret
    path = tmp_path / "home" / "alerts.db"
    assert path.stat().st_mode & 0o777 == 0o600
    assert_no_secret(path.read_bytes().decode("latin-1"))


def test_a_broken_target_neither_blocks_nor_repeats_the_others(outbox, sink):
    # given a target that is down, and one that works
    channels = Channels(["json://127.0.0.1:9/x", sink.url])
    outbox.add(alerts("one", "two"), channels.ids, NOW)
    # when it is delivered, at once and an hour later
    first = deliver(outbox, channels, lambda: NOW)
    second = deliver(outbox, channels, lambda: NOW + 3_600)
    # then the good one has everything once, and the failure names target and reason
    assert [one["title"] for one in sink.posts] == ["title one", "title two"]
    assert (first.sent, second.sent) == (2, 0)
    assert len(first.failed) == len(second.failed) == 1
    assert "'title one' was not delivered: target 1 (json)" in first.failed[0]
    assert first.failed[0].endswith("It is tried again.")


def test_a_failed_delivery_waits_longer_each_time_and_is_given_up_after_a_day(outbox, tmp_path):
    # given a target that stays down
    outbox.add(alerts("one"), ["target"], NOW)
    now, pauses, again = NOW, [], True
    # when it is tried whenever it is due
    while again:
        delivery = outbox.claim(["target"], now)
        assert delivery is not None
        again = outbox.failed(delivery, now)
        with closing(sqlite3.connect(tmp_path / "home" / "alerts.db")) as database:
            ((due,),) = database.execute("SELECT due FROM deliveries")
        assert outbox.claim(["target"], due - 1) is None
        pauses.append(due - now)
        now = due
    # then the pauses grow to an hour, and after a day it is over
    assert 20 <= pauses[0] <= 40
    assert pauses[0] < pauses[2] < pauses[4]
    assert max(pauses) <= 3_600 * 1.25
    assert GIVE_UP_SECONDS - 5_000 < now - NOW < GIVE_UP_SECONDS + 5_000
    assert outbox.claim(["target"], now + 10 * GIVE_UP_SECONDS) is None


def test_a_new_target_gets_no_old_alerts_and_old_keys_are_forgotten_late(outbox):
    # given an alert from before a target was there
    outbox.add(alerts("old"), ["first"], NOW)
    # when / then it is not for the new one
    first = outbox.claim(["first", "second"], NOW + 1)
    assert first.target == "first"
    assert outbox.claim(["first", "second"], NOW + 1) is None
    outbox.delivered(first)
    # and its key is known for a season
    assert outbox.add(alerts("old", "new"), ["first"], NOW + KEEP_SECONDS - 1) == 1
    outbox.add(alerts("newer"), ["first"], NOW + KEEP_SECONDS + 1)
    assert outbox.add(alerts("old"), ["first"], NOW + KEEP_SECONDS + 2) == 1


def test_what_waits_for_a_target_whose_address_was_mended_goes_to_the_new_one(outbox, sink):
    # given two targets, one of which refuses (its password has run out), and two alerts
    dead = "json://127.0.0.1:9"
    before = Channels([dead, sink.url])
    outbox.add(alerts("one", "two"), before.ids, NOW)
    assert deliver(outbox, before, lambda: NOW).sent == 2
    # when its address is changed, and a third alert comes
    after = Channels([sink.url, f"{sink.url}/mended"])
    outbox.add(alerts("three"), after.ids, NOW + 1)
    assert deliver(outbox, after, lambda: NOW + 1).sent == 4
    # then the new one has got all three, the other one each once
    assert sorted(one["title"] for one in sink.posts) == sorted(["title one", "title two", "title three"] * 2)
    assert deliver(outbox, after, lambda: NOW + 90_000).sent == 0


def test_a_claim_holds_in_its_process_and_ends_after_a_while(outbox):
    # given a delivery that another thread of this process is about to send
    outbox.add(alerts("one"), ["target"], NOW)
    assert outbox.claim(["target"], NOW) is not None
    # when / then nobody else gets it, until it is certain that the thread hangs
    assert outbox.claim(["target"], NOW + CLAIM_SECONDS - 1) is None
    assert outbox.claim(["target"], NOW + CLAIM_SECONDS + 1) is not None


@pytest.mark.slow
def test_two_processes_at_once_send_each_alert_once(outbox, sink, tmp_path):
    # given forty alerts that no file exists for yet, and a server that takes its time
    sink.seconds = 0.02
    code = """
keys = [str(number) for number in range(40)]
outbox.add([alert(key, "failure", key, ["body"]) for key in keys], channels.ids, time.time())
done = deliver(outbox, channels)
print(done.sent, len(done.failed))
"""
    # when three processes add and deliver them at the same time
    processes = [start(tmp_path, code, "", sink.url) for _ in range(3)]
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    # then each has arrived once
    assert sorted(int(one["title"]) for one in sink.posts) == list(range(40))
    assert sum(int(sent) for sent, _ in answers) == 40
    assert [failed for _, failed in answers] == ["0", "0", "0"]


@pytest.mark.parametrize("moment", ["added", "claimed"])
def test_a_killed_process_loses_nothing(outbox, sink, tmp_path, moment):
    # given a process that was killed after it had added, or claimed, an alert
    code = """
outbox.add([alert("one", "failure", "one", ["body"])], channels.ids, time.time())
if sys.argv[2] == "claimed":
    assert outbox.claim(channels.ids, time.time())
print("ready", flush=True)
time.sleep(60)
"""
    process = start(tmp_path, code, moment, sink.url)
    assert process.stdout.readline() == "ready\n"
    if moment == "claimed":  # while it lives, it is its
        assert outbox.claim(Channels([sink.url]).ids, time.time()) is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # when the next one delivers
    assert deliver(outbox, Channels([sink.url])).sent == 1
    # then the alert has arrived, once
    assert deliver(outbox, Channels([sink.url])).sent == 0
    assert [one["title"] for one in sink.posts] == ["one"]
