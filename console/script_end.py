"""How scripts end when something is wrong, or Ctrl-C stops them: with a sentence and a status."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def interrupted(what: str, end: Callable[[int], NoReturn] = sys.exit) -> NoReturn:
    """End a script that Ctrl-C has stopped, with a sentence and the status that shells expect."""
    print(f"interrupted: {what}", file=sys.stderr)
    end(128 + signal.SIGINT)


def fail(error: Exception, end: Callable[[int], NoReturn] = sys.exit) -> NoReturn:
    """End a script with a sentence instead of a traceback, and with status 2."""
    print(f"error: {error}", file=sys.stderr)
    end(2)
