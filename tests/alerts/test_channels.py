"""Alerts arrive at real servers, as they were written; no secret is in any error, name or log."""

from __future__ import annotations

import pytest
from alert_servers import PASSWORD, TOKEN, USER, assert_no_secret

from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.message import FAILURE, AlertError, alert, first_lines
from mlops_assets.errors import SettingsError

BODY = ["Job: train_model", "Step *model*: <b>1 & 2</b> _is_ [no](number) :smile: \\n", "  indented"]
ALERT = alert("one", FAILURE, "train 2026-01-05 failed: ä < b", BODY, ["Run: http://127.0.0.1:3000/runs/a_b_c"])


def test_a_mail_says_what_the_alert_says(mail):
    # given a mail server / when an alert is sent
    channels = Channels([mail.url()])
    channels.targets[0].send(ALERT)
    # then it arrives as plain text, with its markup untouched
    (received,) = mail.mails
    assert received["subject"] == ALERT.title
    assert received["to"] == "team@example.org"
    assert received.get_body(("plain",)).get_content().replace("\r\n", "\n").strip() == ALERT.body


def test_a_webhook_gets_the_same(sink):
    # given / when
    channels = Channels([sink.url])
    channels.targets[0].send(ALERT)
    # then
    (received,) = sink.posts
    assert (received["title"], received["message"], received["type"]) == (ALERT.title, ALERT.body, "failure")


@pytest.mark.parametrize("status", [403, 500])
def test_a_refusal_has_a_reason_without_secrets(sink, status, logged, capfd):
    # given a server that refuses, and logs that show everything
    sink.status = status
    channels = Channels([sink.url])
    # when / then the error has a reason
    with pytest.raises(AlertError, match=f"target 1 .json.*{status}") as caught:
        channels.targets[0].send(ALERT)
    # and no secret is shown
    out, err = capfd.readouterr()
    assert_no_secret(str(caught.value), repr(caught.value.__context__), logged(), out, err, repr(channels))


def test_a_wrong_password_is_named_as_the_reason_but_not_shown(mail, logged, capfd):
    # given a server that knows another password
    channels = Channels([mail.url(password="wr0ng-Pa55")])
    # when / then
    with pytest.raises(AlertError, match=r"(?i)auth") as caught:
        channels.targets[0].send(ALERT)
    assert "wr0ng" not in str(caught.value) + logged() + "".join(capfd.readouterr())
    assert_no_secret(str(caught.value), logged())


def test_a_server_that_is_not_there_or_does_not_answer_is_a_failed_delivery(sink):
    # given one port that nobody listens on, and one server that does not answer
    sink.seconds = 6
    channels = Channels(["json://127.0.0.1:9/x", sink.url])
    # when / then both fail
    with pytest.raises(AlertError, match="refused"):
        channels.targets[0].send(ALERT)
    with pytest.raises(AlertError, match="timed out"):
        channels.targets[1].send(ALERT)


@pytest.mark.parametrize(
    "url",
    [
        f"nonsense://{USER}:{PASSWORD}@host/{TOKEN}",
        f"mailto://{USER}:{PASSWORD}/{TOKEN}@host",
        f"slack://{TOKEN}",
        f"json://{USER}:{PASSWORD}@/{TOKEN}",
    ],
)
def test_a_url_that_is_not_understood_is_named_by_its_position(url, logged, capfd):
    # given a good URL and a bad one
    channels = Channels(["json://127.0.0.1/x", url])
    # when / then the bad one is refused
    with pytest.raises(SettingsError, match=f"target 2 .{url.partition(':')[0]}") as caught:
        channels.check()
    # and to send to it is a failure like others
    with pytest.raises(AlertError, match="target 2"):
        channels.targets[1].send(ALERT)
    assert_no_secret(
        str(caught.value), logged(), *capfd.readouterr(), repr(channels), *channels.names, channels.targets[1].id
    )


def test_long_texts_are_cut_but_the_link_arrives():
    # given an error of many long lines
    text = "\n".join(f"line {number} " + "x" * 500 for number in range(50))
    # when it becomes an alert
    one = alert("key", FAILURE, "t" * 500, [first_lines(text)] * 9, ["Run: http://link"])
    # then it fits, begins with the beginning, and ends with the link
    assert len(one.title) <= 150
    assert len(one.body) <= 1_500
    assert one.body.startswith("line 0 ")
    assert one.body.endswith("…\n\nRun: http://link")
    assert first_lines("one\n\ntwo\n") == "one\ntwo"
