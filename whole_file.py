"""A file that is written whole or not at all: beside, synced, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, suffix: str = ".partial") -> Iterator[BinaryIO]:
    """A file to write to, which takes a path's place when all is written.

    Args:
        path: the place; what is there stays good until then, and after a fault.
        suffix: of the name meanwhile; one of its own for each process where several may write.

    """
    partial = path.with_name(path.name + suffix)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
