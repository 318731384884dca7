"""Files that are written whole or not at all, and lines that are added whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def write_text(path: Path | str, text: str) -> None:
    """Write a file whole, as UTF-8, in a folder that is made where it is missing.

    What is there and is a link or no file, as a pipe or /dev/stdout, or lies in a folder that takes
    no other file, is written to as it stands.

    Raises:
        OSError: it can't be written.

    """
    path = Path(path)
    replaceable = path.is_file() and not path.is_symlink() and os.access(path.parent, os.W_OK)
    if (path.exists() or path.is_symlink()) and not replaceable:
        path.write_bytes(_encoded(text))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(_encoded(text))


def append_whole(path: Path, text: str) -> None:
    """Add text to the end of a file, as UTF-8.

    Raises:
        OSError: it can't be written, as on a full disk; the file is as it was.

    """
    data = _encoded(text)
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            with suppress(OSError):  # a device has no length
                file.truncate(before)
            raise


def _encoded(text: str) -> bytes:
    """UTF-8; bytes of file names that are none stand as escapes."""
    return text.encode("utf-8", "backslashreplace")
