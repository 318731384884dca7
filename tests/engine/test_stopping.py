"""A signal waits for the end of the step; a later Ctrl-C does not."""

import os
import signal
import time

import pytest

from engine import stopping
from engine.stopping import StopRequest


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own handling, which a shell may have switched off for jobs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_later_ctrl_c_acts_at_once(capfd, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(stopping, "SAME_WISH", 0.05)
    with StopRequest() as request:
        assert request.asked is None
        os.kill(os.getpid(), signal.SIGINT)
        assert request.asked == "SIGINT"
        assert "stopping after this step" in capfd.readouterr().err
        time.sleep(0.1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_later_ctrl_c_acts_where_the_shell_had_it_ignored(monkeypatch):
    monkeypatch.setattr(stopping, "SAME_WISH", 0.0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.asked == "SIGTERM"
        time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_come_together_are_one_wish(first, capfd):
    with StopRequest() as request:
        for number in (first, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert request.asked == first.name
    assert capfd.readouterr().err.count("stopping after this step") == 1


def test_a_later_sigterm_still_waits_for_the_step(monkeypatch):
    monkeypatch.setattr(stopping, "SAME_WISH", 0.0)
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.asked == "SIGTERM"


def test_what_the_inner_one_was_asked_the_outer_one_is_asked_too():
    with StopRequest() as outer:
        with StopRequest() as inner:
            signal.raise_signal(signal.SIGTERM)
            assert (inner.asked, outer.asked) == ("SIGTERM", None)
        assert outer.asked == "SIGTERM"


def test_without_a_signal_all_is_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest() as request:
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert request.asked is None
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
