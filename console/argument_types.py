"""Types of command-line values, which say in words what they take."""

import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any


def number(kind: type, wanted: str, fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    """A type for argparse.

    Args:
        kind: int or float.
        wanted: what fits, in words.
        fits: whether a value does.

    """

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise ArgumentTypeError(f"must be {wanted}, not {text}")
        return value

    return convert


def file_to_write(text: str) -> str:
    """A type for argparse: a file that can be written, as far as can be told before the work."""
    path = Path(text)
    try:
        if path.is_dir():
            raise ArgumentTypeError(f"{text} is a folder; name a file in it")
        # What is there is written to, be it a pipe or /dev/stdout.
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        fits = there == path or there.is_dir()
    except OSError as error:
        raise ArgumentTypeError(f"{text} can't be written: {error.strerror}") from None
    if not (fits and os.access(there, os.W_OK)):
        raise ArgumentTypeError(f"{text} can't be written: nothing can be put into {there}")
    return text


positive = number(int, "a whole number, 1 or more", lambda v: v >= 1)
whole = number(int, "a whole number, 0 or more", lambda v: v >= 0)
seed = number(int, "a whole number, 0 or more, below 2**32", lambda v: 0 <= v < 2**32)
port = number(int, "a port, 0 to 65535", lambda v: 0 <= v < 2**16)
workers = number(int, "-1 (all cores), 0 or more", lambda v: v >= -1)
above_zero = number(float, "a number above 0", lambda v: 0 < v < float("inf"))
weight = number(float, "a number, 0 or more", lambda v: 0 <= v < float("inf"))
decay = number(float, "a number from 0 to below 1", lambda v: 0 <= v < 1)
share = number(float, "a number above 0, at most 1", lambda v: 0 < v <= 1)
share_or_none = number(float, "a number from 0 to 1", lambda v: 0 <= v <= 1)
