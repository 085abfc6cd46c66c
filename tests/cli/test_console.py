"""What people and logs see of a command at work."""

from __future__ import annotations

import pytest

from mlops_assets.cli import console


@pytest.mark.parametrize("hidden", [False, True])
def test_progress_outside_of_a_terminal_is_a_line_now_and_then(capfd, monkeypatch, hidden):
    # given standard error that is no terminal, and a command that has been at work for a while
    monkeypatch.setattr(console, "_FIRST_LINE_SECONDS", 0.0)
    with console.progress(200, hidden=hidden) as advance:
        # when it goes on
        monkeypatch.setattr(console, "_LONGEST_PAUSE_SECONDS", 3_600.0)
        advance("planning [raw_data] 2026-01-01", 50)
        advance("planning [raw_data] 2026-01-02", 51)
    # then its log says where it is, and a command with --json nothing
    said = capfd.readouterr().err
    assert said.count("25% planning [raw_data] 2026-01-01\n") == (0 if hidden else 1)
