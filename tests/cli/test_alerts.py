"""`mlops-assets alerts test`, and how other commands show the targets: never with a secret."""

from __future__ import annotations

import pytest
from alert_servers import PASSWORD, TOKEN, USER, assert_no_secret, mail_server, web_sink

from mlops_assets.errors import SettingsError
from mlops_assets.settings import Settings


def test_a_test_alert_goes_to_every_target(cli):
    # given a mail server and a webhook
    with mail_server() as mail, web_sink() as sink:
        # when the test is sent
        done = cli("alerts", "test", MLOPS_ALERT_URLS=f"{mail.url()} {sink.url}")
        # then both have it, and the command says so
        assert done.code == 0, done.err
        assert done.out.splitlines() == ["target 1 (mailto): delivered", "target 2 (json): delivered"]
        assert [one["title"] for one in sink.posts] == ["Alerts of mlops-assets arrive here"]
        assert mail.mails[0]["subject"] == "Alerts of mlops-assets arrive here"
        # and when one of them refuses, exit code and reason say so
        sink.status = 404
        done = cli("alerts", "test", "--json")
        assert done.code == 1
        assert [one["delivered"] for one in done.json] == [True, False]
        assert "404" in done.json[1]["reason"]
        assert_no_secret(done.out, done.err)


def test_without_targets_the_command_says_what_to_set(cli):
    # given / when / then
    done = cli("alerts", "test")
    assert done.code == 2
    assert "MLOPS_ALERT_URLS" in done.err


def test_doctor_shows_targets_without_secrets_and_finds_wrong_ones(cli):
    # given a good target
    done = cli("doctor", "--json", MLOPS_ALERT_URLS=f"json://{USER}:{PASSWORD}@127.0.0.1/{TOKEN}")
    # when / then its value is hidden, and the check names it by place and scheme
    (shown,) = [one["value"] for one in done.json["settings"] if one["variable"] == "MLOPS_ALERT_URLS"]
    assert shown == "***"
    (found,) = [one for one in done.json["findings"] if one["check"] == "alerts"]
    assert found["state"] == "ok"
    assert "target 1 (json)" in found["detail"]
    assert_no_secret(done.out, done.err)
    # and when it is one that Apprise does not understand, it is reported
    done = cli("doctor", MLOPS_ALERT_URLS=f"jsn://{USER}:{PASSWORD}@127.0.0.1/{TOKEN}")
    assert done.code == 1
    assert "target 1 (jsn) is not a valid Apprise URL" in " ".join(done.out.split())
    assert_no_secret(done.out, done.err)
    # and so the test command refuses it
    done = cli("alerts", "test")
    assert "target 1 (jsn) is not a valid Apprise URL" in done.err
    assert_no_secret(done.out, done.err)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("a://b c://d", ("a://b", "c://d")),
        ("a://b,c://d\n e://f,", ("a://b", "c://d", "e://f,")),
        (
            "slack://x/y/z/#a,#b, mailto://u:p@h?to=a@b.c,d@e.f",
            ("slack://x/y/z/#a,#b", "mailto://u:p@h?to=a@b.c,d@e.f"),
        ),
        (" ", ()),
    ],
)
def test_urls_are_separated_by_blanks_or_by_commas_before_a_scheme(text, urls):
    # given / when / then
    assert Settings(_env_file=None, alert_urls=text).alerts.urls == urls


def test_settings_never_show_the_urls(tmp_path, monkeypatch):
    # given a list whose second part is no URL
    secret = f"json://{USER}:{PASSWORD}@host {TOKEN}"
    # when / then the error names the place
    with pytest.raises(SettingsError, match=r"MLOPS_ALERT_URLS: .* number 2 is not one") as caught:
        Settings(_env_file=None, alert_urls=secret)
    assert_no_secret(str(caught.value), repr(caught.value.__context__), repr(caught.value.__cause__))
    # and a good one is in no repr
    settings = Settings(_env_file=None, alert_urls=f"json://{USER}:{PASSWORD}@host/{TOKEN}")
    assert_no_secret(repr(settings), str(settings), repr(settings.alerts))
    # and an unknown kind is refused with those there are
    with pytest.raises(SettingsError, match="failures: expected some of failure, retry, check, late, promotion"):
        Settings(_env_file=None, alert_on="failures,retry")
