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
        advance("planning [raw_data] 2026-01-01", 50)
    # then its log says where it is, and a command with --json nothing
    assert capfd.readouterr().err == ("" if hidden else "25% planning [raw_data] 2026-01-01\n")
