"""SIGTERM and Ctrl-C ask a run to stop after its step, and not to die in the midst of it."""

import os
import signal
import sys
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# What is sent again within so many seconds is the same wish: `timeout` signals its command and then
# the command's group, torchrun passes on the Ctrl-C that the terminal has sent to all.
SAME_WISH = 1.0


def exit_on_sigterm() -> None:
    """Let SIGTERM end the process as Ctrl-C does, so that what it began is tidied away."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


class StopRequest:
    """A context manager within which a signal only sets a flag; a later Ctrl-C acts at once.

    Within another one, what it was asked the other one is asked, too, at its end.

    Attributes:
        asked: name of the signal that came first; None before.

    """

    def __init__(self):
        self.asked: str | None = None
        self._asked_at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *error) -> None:
        outer = getattr(self._before.get(signal.SIGTERM), "__self__", None)
        self._give_back()
        if isinstance(outer, StopRequest) and outer.asked is None:
            outer.asked, outer._asked_at = self.asked, self._asked_at

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.asked is None:
            self.asked, self._asked_at = signal.Signals(number).name, time.monotonic()
            os.write(2, b"\nstopping after this step; at once by Ctrl-C in a second or later\n")
        elif number == signal.SIGINT and time.monotonic() - self._asked_at > SAME_WISH:
            self._give_back()
            if signal.getsignal(number) == signal.SIG_IGN:  # as under nohup
                signal.signal(number, signal.default_int_handler)
            signal.raise_signal(number)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
