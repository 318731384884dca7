"""A first signal waits for the end of the step; a second one does not."""

import os
import signal
import time

import pytest

from engine.stopping import StopRequest


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own handling, which a shell may have switched off for jobs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_second_signal_acts_at_once(capfd):
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as request:
        assert request.asked is None
        os.kill(os.getpid(), signal.SIGINT)
        assert request.asked == "SIGINT"
        assert "once more stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_signal_all_is_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest() as request:
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert request.asked is None
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
