"""SIGTERM and Ctrl-C ask a run to stop after its step, and not to die in the midst of it."""

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """A context manager within which the first signal only sets a flag; the next one acts at once.

    Attributes:
        asked: name of the signal that came; None before.

    """

    def __init__(self):
        self.asked: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *error) -> None:
        self._give_back()

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.asked = signal.Signals(number).name
        os.write(2, b"\nstopping after this step; once more stops at once\n")
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
