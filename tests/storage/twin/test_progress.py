"""Checks of what a run says while it makes frames."""

import re

import pytest

from storage.twin.progress import show_frames


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.twin.progress.PLAIN_INTERVAL_S", 0.0)
    with show_frames(312, 624) as on_frames:
        on_frames(400, 624)
    assert re.fullmatch(r"400 of 624 frames, [\d,]+ frames/s, 0 min 0 s left\n", capsys.readouterr().out)


def test_short_runs_say_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with show_frames(0, 624) as on_frames:
        on_frames(624, 624)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar_that_begins_at_what_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with show_frames(312, 1248) as on_frames:
        on_frames(624, 1248)
        on_frames(700, 1248)
    shown = capsys.readouterr().out
    assert "312 of 1,248 frames" in shown
    assert re.search(r"700 of 1,248 frames.*[\d,]+ frames/s", shown)
