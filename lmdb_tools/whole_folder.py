"""A folder that is written whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from records.lmdb_writer import unfinished_job


def require_free(folder: Path) -> None:
    """Refuse a place where something is.

    Raises:
        FileExistsError: there is a file, or a folder that is not empty.

    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already: remove it, or choose another place.")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, which gets its name when all is written, and is removed otherwise.

    Raises:
        FileExistsError: there is something at `folder`, or the beginning of a conversion to it.

    """
    require_free(folder)
    with marked_folder(folder.with_name(folder.name + ".partial")) as partial:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)


@contextmanager
def marked_folder(partial: Path) -> Iterator[Path]:
    """An empty folder of this command's own, gone afterwards; one that was left is emptied.

    Raises:
        FileExistsError: there is a folder that no such command left, or one is at work in it.

    """
    # Beside it, as the folder itself may be an LMDB; what has none is somebody's own.
    mark = partial.with_name(partial.name + ".mark")
    if unfinished_job(partial) is not None:
        raise FileExistsError(
            f"{partial} is the beginning of a conversion: finish that with the same command, or "
            "remove the folder."
        )
    if partial.exists() and any(partial.iterdir()) and not mark.exists():
        raise FileExistsError(
            f"{partial} is there, and is nothing of an interrupted command: move it away, or "
            "choose another place."
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(mark)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileExistsError(
            f"Another command is writing {partial} now; wait for its end, or choose another place."
        ) from None
    try:
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        mark.unlink(missing_ok=True)
        lock.release()
