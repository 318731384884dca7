"""A bar on a terminal, and lines now and then elsewhere."""

import io
import sys

import pytest

from console.progress import Progress, RunLog, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    told = []
    monkeypatch.setattr(RunLog, "__call__", lambda _, text="": told.append(text))
    return told


@pytest.mark.parametrize(("seconds", "expected"), [(0, [1, 2, 3, 4]), (1e9, [4])])
def test_lines_come_every_so_often_and_at_the_end(lines, monkeypatch, seconds, expected):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = Progress(4, "train", RunLog(), seconds)
    for _ in range(4):
        progress.update(1, loss="0.5")
    progress.close()
    assert [line.split()[1] for line in lines] == [f"{done}/4" for done in expected]
    assert all("loss 0.5" in line and "ETA" in line for line in lines)


def test_on_a_terminal_there_is_a_bar_and_no_line(lines, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(4, "train", RunLog(), 0)
    for _ in range(4):
        progress.update(1, loss="0.5")
    progress.close()
    assert lines == [] and "train: 100%" in terminal.getvalue()


def test_durations():
    assert [duration(s) for s in (59, 3661, 90061)] == ["00:00:59", "01:01:01", "1d 01:01:01"]
