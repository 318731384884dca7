"""Records of an LMDB whose file may be cut off, replaced or removed while they are read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

from records.lmdb_file import DAMAGE, DataError, StoredRecord, damaged, stored_record

BATCH = 500  # records between two looks at the file


@dataclass(frozen=True)
class FileStamp:
    """Size in bytes and time of change, in nanoseconds, of an LMDB's file."""

    size: int
    changed: int


def stamp_file(path: Path) -> FileStamp:
    """The stamp of an LMDB's file.

    Raises:
        DataError: it is gone.

    """
    try:
        status = (path / "data.mdb").stat()
    except OSError as error:
        raise DataError(
            f"The LMDB {path} is gone, or can't be reached any more: {error.strerror}."
        ) from None
    return FileStamp(status.st_size, status.st_mtime_ns)


def read_records(
    path: Path, stamp: FileStamp, numbers: np.ndarray, buffers: bool = False
) -> Iterator[StoredRecord]:
    """Records by their numbers.

    Args:
        path: folder of the LMDB; nothing else in this process may have it open.
        stamp: of its file when it was found to be whole.
        numbers: of the records.
        buffers: images and the like as memoryviews, which hold until the next record only.

    Raises:
        DataError: the file changed since, is gone, or is damaged.

    """
    for start in range(0, len(numbers), BATCH):
        # Reading beyond the end of a file that was cut off meanwhile would kill the process.
        found = stamp_file(path)
        if found != stamp:
            raise DataError(
                f"The LMDB {path} changed while it was read (it had {stamp.size:,} bytes and now "
                f"has {found.size:,}). Wait until nothing writes to it, and start again."
            )
        try:
            with (
                lmdb.open(
                    os.fsencode(path), readonly=True, lock=False, readahead=False, max_readers=1024
                ) as environment,
                environment.begin(buffers=buffers) as transaction,
            ):
                for number in numbers[start : start + BATCH].tolist():
                    yield stored_record(transaction, number)
        except DAMAGE as error:
            raise damaged(path, error) from None
