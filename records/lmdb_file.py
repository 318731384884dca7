"""An LMDB as a file: opening it safely, and its records as they are stored."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

NUM_SAMPLES = b"num-samples"  # key of the number of records, decimal text
STAND_IN = "stand-in"  # key of a note that says that a set is rendered
UNFINISHED = b"unfinished"  # key of the state of the job that writes an LMDB, until its end
DIGITS = 9  # of a record's number, from 1, in its keys


# What reading a damaged LMDB raises: a page may say that a value has gigabytes.
DAMAGE = (lmdb.Error, MemoryError)


class DataError(ValueError):
    """Data that can't be used; the message names the path, what was found, and the cure."""


def damage_in_words(error: Exception) -> str:
    """What one of `DAMAGE` says; a MemoryError says nothing by itself."""
    return str(error) or "no memory for what its pages say"


def damaged(path: Path, error: Exception) -> DataError:
    """What to say of an LMDB whose pages can't be read."""
    what = damage_in_words(error)
    return DataError(f"The LMDB {path} is damaged: {what}. Copy it or make it again.")


@dataclass(frozen=True)
class StoredRecord:
    """What the keys of a record hold, None for a key that is missing.

    Attributes:
        number: of the record, from 1.
        image: an image file's bytes, `image-%09d`.
        label: `label-%09d`.
        boxes: `boxes-%09d`.

    """

    number: int
    image: bytes | None
    label: bytes | None
    boxes: bytes | None


def stored_record(transaction: lmdb.Transaction, number: int) -> StoredRecord:
    """A record by its number."""
    values = (transaction.get(record_key(k, number)) for k in (b"image", b"label", b"boxes"))
    return StoredRecord(number, *values)


def record_key(kind: bytes, number: int) -> bytes:
    """Key of a record's image, label or boxes; that of number 0 sorts just before the first."""
    return b"%s-%0*d" % (kind, DIGITS, number)


def open_environment(path: Path) -> lmdb.Environment:
    """Open an LMDB folder for reading; the caller closes it.

    Raises:
        DataError: no LMDB, a damaged one, or one that was cut off.

    """
    file = Path(path) / "data.mdb"
    try:
        if not file.is_file():
            raise DataError(f"There is no LMDB (a folder with data.mdb) at {path}; check the path.")
        size = file.stat().st_size
    except OSError as error:  # a network folder that is gone, for one
        raise DataError(f"The LMDB {path} can't be reached: {error.strerror}.") from None
    if not size:
        raise DataError(f"The LMDB {path} has an empty data.mdb: copy or make it again.")
    try:
        environment = lmdb.open(
            os.fsencode(path),  # a name need not be UTF-8
            readonly=True,
            lock=False,
            readahead=False,
            meminit=False,
            max_readers=1024,
        )
    except lmdb.Error as error:
        raise DataError(f"The LMDB {path} can't be opened: {error}.") from None
    whole = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    # The last pages of a whole file may be missing where nothing is in them.
    if size < whole and not _every_page_is_there(path):
        environment.close()
        raise DataError(
            f"The LMDB {path} was cut off: {file.name} has {size:,} bytes of {whole:,}. Copy it "
            "again; what is missing can't be mended."
        )
    try:
        with environment.begin() as transaction:
            unfinished = transaction.get(UNFINISHED) is not None
    except DAMAGE as error:
        environment.close()
        raise damaged(path, error) from None
    if unfinished:
        environment.close()
        raise DataError(
            f"The LMDB {path} is not finished: the command that makes it is under way, or was "
            "interrupted. Repeat that command to finish it, or remove the folder."
        )
    return environment


@contextmanager
def reading(path: Path) -> Iterator[lmdb.Transaction]:
    """A transaction on an LMDB that nothing else in this process has open.

    Raises:
        DataError: as `open_environment`.

    """
    with open_environment(path) as environment, environment.begin() as transaction:
        yield transaction


# Reading a page beyond the end of a file kills a process, so another one tries.
_READ_ALL = """
import sys, lmdb
with lmdb.open(sys.argv[1], readonly=True, lock=False) as environment:
    with environment.begin(buffers=True) as transaction:
        for _, value in transaction.cursor():
            bytes(value[:1]), bytes(value[-1:])
"""


def _every_page_is_there(path: Path) -> bool:
    command = [sys.executable, "-c", _READ_ALL, os.fspath(path)]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def count_records(transaction: lmdb.Transaction, path: Path) -> int:
    """Records that an LMDB says it has, at most as many as it has entries.

    Raises:
        DataError: it does not say, or what it says is no number.

    """
    stored = transaction.get(NUM_SAMPLES)
    if stored is None:
        with transaction.cursor() as cursor:
            first = [key for (key, _), _ in zip(cursor, range(3), strict=False)]
        keys = [key.decode("utf-8", "replace") for key in first]
        raise DataError(
            f"The LMDB {path} has no entry num-samples; its first keys are "
            f"{', '.join(keys) or 'none'}. Make it with tools/create_lmdb_dataset.py."
        )
    if not stored.isdigit() or len(stored) > 12:
        raise DataError(
            f"num-samples of the LMDB {path} is {stored[:20]!r}, not a count of records."
        )
    # A count beyond the entries that are there must not cost memory or time.
    return min(int(stored), transaction.stat()["entries"])
