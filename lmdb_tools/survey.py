"""What an LMDB holds, without its records: their numbers, what it says of itself, its notes."""

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np

from lmdb_tools.watched_lmdb import FileStamp, stamp_file
from records.lmdb_file import DIGITS, NUM_SAMPLES, DataError, count_records, reading

KINDS = (b"image-", b"label-", b"boxes-")
MAX_NOTES = 100  # so that an LMDB of another format is not taken for notes as a whole
MAX_NOTE_BYTES = 2**20


@dataclass(frozen=True)
class Survey:
    """An LMDB without its records.

    Attributes:
        path: folder of the LMDB.
        stamp: of its file, to notice that it changes.
        numbers: of records to look at, ascending, uint32: those that `num-samples` counts, and
            others that have keys.
        declared: what `num-samples` says; None where it is missing or no number.
        count_problem: what is wrong with `num-samples`; empty where nothing is.
        missing_beyond: records that are counted, and are neither in `numbers` nor there.
        odd_keys: how many keys begin as a record's do, and are none.
        odd_key: the first of them.
        notes: JSON objects about the whole set, by key.

    """

    path: Path
    stamp: FileStamp
    numbers: np.ndarray
    declared: int | None
    count_problem: str
    missing_beyond: int
    odd_keys: int
    odd_key: str
    notes: dict[str, dict]


def survey_lmdb(path: Path) -> Survey:
    """Look at an LMDB's keys.

    Raises:
        DataError: no LMDB, a damaged one, or one that was cut off.

    """
    try:
        with reading(path) as transaction:
            return _survey(transaction, path)
    except (lmdb.Error, OSError) as error:
        raise DataError(f"The LMDB {path} can't be read: {error}. Copy it again.") from None


def _survey(transaction: lmdb.Transaction, path: Path) -> Survey:
    declared, problem = None, ""
    try:
        counted = count_records(transaction, path)
        declared = int(transaction.get(NUM_SAMPLES))
    except DataError as error:
        counted, problem = 0, str(error)
    # Neither what num-samples says nor a stray key of a high number must cost memory.
    beyond, odd_keys, odd_key = _keys_beyond(transaction, counted)
    numbers = np.concatenate([np.arange(1, counted + 1, dtype=np.uint32), beyond])
    if any(transaction.get(kind + b"0" * DIGITS) is not None for kind in KINDS):
        numbers = np.concatenate([np.zeros(1, dtype=np.uint32), numbers])
    there = int(np.count_nonzero(beyond <= declared)) if declared is not None else 0
    return Survey(
        path=path,
        stamp=stamp_file(path),
        numbers=numbers,
        declared=declared,
        count_problem=problem,
        missing_beyond=0 if declared is None else declared - counted - there,
        odd_keys=odd_keys,
        odd_key=odd_key,
        notes=dict(_notes(transaction)),
    )


def _keys_beyond(transaction: lmdb.Transaction, counted: int) -> tuple[np.ndarray, int, str]:
    """Numbers in keys after the record `counted`, ascending; keys of another form, the first."""
    numbers, odd_keys, odd_key = array("I"), 0, ""
    with transaction.cursor() as cursor:
        for kind in KINDS:
            if not cursor.set_range(b"%s%09d" % (kind, counted + 1)):
                continue
            for key in cursor.iternext(keys=True, values=False):
                if not key.startswith(kind):
                    break
                digits = key[len(kind) :]
                if len(digits) == DIGITS and digits.isdigit():
                    numbers.append(int(digits))
                else:
                    odd_keys += 1
                    odd_key = odd_key or key.decode("utf-8", "replace")
    return np.unique(np.array(numbers, dtype=np.uint32)), odd_keys, odd_key


def _notes(transaction: lmdb.Transaction) -> Iterator[tuple[str, dict]]:
    keys = (key for key in _other_keys(transaction) if key != NUM_SAMPLES)
    for key in islice(keys, MAX_NOTES):
        stored = transaction.get(key)
        if stored is None:  # a cursor finds it, and a search does not
            raise lmdb.CorruptedError("its keys are not in order")
        if len(stored) > MAX_NOTE_BYTES:
            continue
        try:
            note = json.loads(stored)
        except (ValueError, RecursionError):
            note = None
        if not isinstance(note, dict):
            note = {"note": stored.decode("utf-8", "replace")}
        yield key.decode("utf-8", "replace"), note


def _other_keys(transaction: lmdb.Transaction) -> Iterator[bytes]:
    """Keys that don't begin as a record's do; those of records are jumped over."""
    last = b""
    with transaction.cursor() as cursor:
        more = cursor.first()
        while more:
            key = cursor.key()
            if key <= last:  # a jump over damaged pages may lead back, again and again
                raise lmdb.CorruptedError("its keys are not in order")
            last = key
            kind = next((kind for kind in KINDS if key.startswith(kind)), None)
            if kind is None:
                yield key
                more = cursor.next()
            else:
                more = cursor.set_range(kind[:-1] + b".")  # the byte after "-"
