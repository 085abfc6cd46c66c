"""What people and logs see of a command at work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlops_assets.cli import console


@pytest.mark.parametrize("hidden", [False, True])
def test_progress_outside_of_a_terminal_is_a_line_now_and_then(capfd, monkeypatch, hidden):
    # given standard error that is no terminal, and a command that has been at work for a while
    monkeypatch.setattr(console, "_FIRST_LINE_SECONDS", 0.0)
    with console.progress(200, hidden=hidden) as advance:
        # when it goes on
        advance("planning [raw_data] 2026-01-01", 50)
    # then its log says where it is, and a command with --json nothing
    assert capfd.readouterr().err == ("" if hidden else "25% planning [raw_data] 2026-01-01\n")


def test_a_command_of_a_few_seconds_leaves_no_lines_of_progress_in_a_log(capfd, monkeypatch):
    # given standard error that is no terminal
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(console, "time", clock)
    with console.progress(200) as advance:
        # when a command takes nine seconds, then nothing stands there
        for clock.now in range(10):
            advance("making raw_data 2026-01-01", 50)
        assert capfd.readouterr().err == ""
        # and when it takes longer, then a line now and then
        for clock.now in range(10, 40):
            advance("making raw_data 2026-01-02", 100)
    assert capfd.readouterr().err == "50% making raw_data 2026-01-02\n" * 2
