"""Which records of an LMDB are used: found in one pass over its labels, and kept beside it.

A set of ten million records is then opened in a moment, and all processes share the same pages of
memory. An index belongs to one file (its size, time and last transaction) and one filter; anything
else is made anew.
"""

import hashlib
import json
import os
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from console.progress import Progress, RunLog
from records.char_boxes import BoxesError
from records.label_filter import FilterReport, LabelFilter
from records.lmdb_file import DIGITS, record_key
from records.official_labels import read_label
from system.whole_file import whole_file

FOLDER = ".index"
FORMAT = 4  # grows when the same labels would give another index
CACHE_VARIABLE = "ACDS_STR_CACHE"
WORTH_A_LINE = 100_000  # records
HIGHEST = 10**DIGITS - 1
CHUNK = 10_000  # records between two updates of the bar


@dataclass(frozen=True)
class RecordIndex:
    """The records of an LMDB that a filter keeps.

    Attributes:
        numbers: of the records, ascending, uint32; in a file that is mapped into memory, where one
            could be written.
        boxed: the numbers of those that have character boxes, likewise.
        report: of the filter.

    """

    numbers: np.ndarray
    boxed: np.ndarray
    report: FilterReport


def record_index(
    folder: Path,
    transaction: lmdb.Transaction,
    declared: int,
    label_filter: LabelFilter,
    log: RunLog,
) -> RecordIndex:
    """The index of an LMDB, read where it is there and valid, else made and kept.

    Args:
        folder: of the LMDB.
        transaction: on it.
        declared: number of its records.
        label_filter: decides which are kept.
        log: told when an index is made that takes a while, or can't be kept.

    """
    identity = _identity(folder, transaction, declared, label_filter)
    digest = hashlib.sha256(json.dumps(identity["filter"]).encode("utf-8")).hexdigest()
    places = [place / digest[:16] for place in (folder / FOLDER, cache_folder(folder))]
    for place in places:
        index = _load(place, identity)
        if index is not None:
            return index
    started = time.monotonic()
    index = _scan(transaction, declared, label_filter, folder, log)
    for place in places:
        try:
            _save(place, index, identity)
        except OSError:
            continue
        if declared >= WORTH_A_LINE:
            seconds = time.monotonic() - started
            log(f"index of {declared:,} records made in {seconds:.0f} s, kept in {place.parent}")
        return _load(place, identity) or index
    log(
        f"warning: the index of {folder} can't be kept, neither in {places[0].parent} nor in "
        f"{places[1].parent}: the next start reads all labels again. {CACHE_VARIABLE} names "
        "another folder for indexes."
    )
    return index


def cache_folder(folder: Path) -> Path:
    """Where the indexes of an LMDB are that can't be kept beside it."""
    chosen = os.environ.get(CACHE_VARIABLE)
    root = Path(chosen) if chosen else _general_cache() / "acds-str"
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return root / "indexes" / name


def _general_cache() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir())


def _identity(
    folder: Path, transaction: lmdb.Transaction, declared: int, label_filter: LabelFilter
) -> dict[str, Any]:
    """What an index is of."""
    status = (folder / "data.mdb").stat()
    return {
        "format": FORMAT,
        "size": status.st_size,
        "time": status.st_mtime_ns,
        "transaction": transaction.id(),  # on some mounts every file has the same time
        "declared": declared,
        "filter": asdict(label_filter),
    }


def _load(place: Path, identity: dict[str, Any]) -> RecordIndex | None:
    """A valid index; None where it is missing, of something else, or damaged."""
    try:
        described = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        if described["identity"] != identity:
            return None
        numbers, boxed = (
            _map(_array(place, name), described["checksums"][name]) for name in ("numbers", "boxed")
        )
        return RecordIndex(numbers, boxed, FilterReport(**described["report"]))
    except MemoryError:
        raise
    except Exception:  # whatever a damaged file makes the readers of arrays and JSON raise
        return None


def _map(file: Path, checksum: int) -> np.ndarray:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if zlib.crc32(array) != checksum:
        raise ValueError(f"{file} is damaged")
    return array


def _array(place: Path, name: str) -> Path:
    return place.with_name(f"{place.name}.{name}.npy")


def _save(place: Path, index: RecordIndex, identity: dict[str, Any]) -> None:
    """Write an index; the description last, so that an interrupted one is not valid."""
    place.parent.mkdir(parents=True, exist_ok=True)
    own = f".{uuid.uuid4().hex[:8]}"  # several processes may make the same index
    for name in ("numbers", "boxed"):
        with whole_file(_array(place, name), own) as file:
            np.save(file, getattr(index, name), allow_pickle=False)
    checksums = {name: zlib.crc32(getattr(index, name)) for name in ("numbers", "boxed")}
    described = {"identity": identity, "report": asdict(index.report), "checksums": checksums}
    with whole_file(place.with_suffix(".json"), own) as file:
        file.write(json.dumps(described).encode("utf-8"))


def _scan(
    transaction: lmdb.Transaction,
    declared: int,
    label_filter: LabelFilter,
    folder: Path,
    log: RunLog,
) -> RecordIndex:
    """Look at every label."""
    report = FilterReport(trainable=label_filter.trainable)
    kept = np.zeros(declared + 1, dtype=bool)
    boxed = np.zeros(declared + 1, dtype=bool)
    boxed[np.fromiter(_numbers_of(transaction, b"boxes", 1, declared), np.uint32)] = True
    shown = log if declared >= WORTH_A_LINE else RunLog(enabled=False)
    progress = Progress(declared, f"index {folder.name}", shown, unit="records")
    with closing(progress):
        for number, stored in enumerate(_labels(transaction, declared), start=1):
            if number % CHUNK == 0 or number == declared:
                progress.update(number - progress.done)
            if stored is None:
                report.drop("no label", _label_key(number))
                continue
            try:
                label, boxes = read_label(stored)
            except UnicodeDecodeError:
                report.drop("label is not UTF-8", _label_key(number))
                continue
            except BoxesError as error:
                report.drop(error.reason, _label_key(number))
                continue
            kept[number] = label_filter.accepts(label, report)
            boxed[number] |= boxes is not None
    beyond = sum(1 for _ in _numbers_of(transaction, b"label", declared + 1, HIGHEST))
    report.leave_out(beyond, "beyond what num-samples counts")
    report.kept = int(kept.sum())
    return RecordIndex(*(np.flatnonzero(a).astype(np.uint32) for a in (kept, kept & boxed)), report)


def _label_key(number: int) -> str:
    return record_key(b"label", number).decode()


def _labels(transaction: lmdb.Transaction, declared: int) -> Iterator[bytes | None]:
    """The stored labels of all records in order; None where there is none."""
    expected = 1
    for number, stored in _entries(transaction, b"label", 1, declared):
        while expected < number:
            yield None
            expected += 1
        yield stored
        expected += 1
    while expected <= declared:
        yield None
        expected += 1


def _numbers_of(transaction: lmdb.Transaction, kind: bytes, first: int, last: int) -> Iterator[int]:
    return (number for number, _ in _entries(transaction, kind, first, last, values=False))


def _entries(
    transaction: lmdb.Transaction, kind: bytes, first: int, last: int, values: bool = True
) -> Iterator[tuple[int, bytes | None]]:
    """Number and value of the keys `<kind>-%09d` from `first` to `last`, in order.

    Keys are sorted: to walk along them takes a third of the time of asking for each.
    """
    prefix = kind + b"-"
    with transaction.cursor() as cursor:
        if not cursor.set_range(b"%s%09d" % (prefix, first)):
            return
        before = first - 1
        for item in cursor.iternext(keys=True, values=values):
            key, value = item if values else (item, None)
            if not key.startswith(prefix):
                return
            digits = key[len(prefix) :]
            if len(digits) == DIGITS and digits.isdigit():
                number = int(digits)
                if number > last:
                    return
                if number <= before:  # damaged pages may lead back, again and again
                    raise lmdb.CorruptedError("its keys are not in order")
                before = number
                yield number, value
