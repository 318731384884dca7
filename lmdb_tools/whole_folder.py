"""A folder that is written whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmdb_writer import unfinished_job


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
    partial = folder.with_name(folder.name + ".partial")
    if unfinished_job(partial) is not None:
        raise FileExistsError(
            f"{partial} is the beginning of a conversion: finish that with the same command, or "
            "remove the folder."
        )
    if partial.exists():  # of a run that was killed
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)
