"""One LMDB of word images: its records, which of them are kept, and why the others are not.

Format of the field: `num-samples`, and 1-based `image-%09d`, `label-%09d`; records may have their
characters' boxes under `boxes-%09d` (see `char_boxes`). The official "reconstituted ST" LMDBs have
them in their labels, and are read too (see `official_labels`).
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import lmdb
import numpy as np

from console.listing import first_of
from console.progress import RunLog
from records.benchmarks import benchmark_name
from records.char_boxes import BoxesError, CharBox, match_boxes, parse_boxes
from records.label_filter import LabelFilter
from records.lmdb_file import (
    DAMAGE,
    STAND_IN,
    DataError,
    StoredRecord,
    count_records,
    damage_in_words,
    damaged,
    open_environment,
    stored_record,
)
from records.official_labels import read_label
from records.record_index import record_index

CHANGED = "the LMDB has changed since it was opened"

# One environment a path and process: LMDB refuses a second, and they must not cross a fork.
_environments: dict[Path, tuple[int, lmdb.Environment]] = {}


def _environment(path: Path) -> lmdb.Environment:
    pid, environment = _environments.get(path, (None, None))
    if pid == os.getpid():
        return environment
    environment = open_environment(path)
    _environments[path] = (os.getpid(), environment)
    return environment


def close_environments() -> None:
    """Close what this process has open; to be called before worker processes are started."""
    for path, (pid, environment) in list(_environments.items()):
        if pid == os.getpid():
            environment.close()
        del _environments[path]


class LmdbSet:
    """The usable records of one LMDB folder.

    Args:
        path: folder with `data.mdb`.
        label_filter: decides which records are used.
        usage_ratio: the first part of them, in (0, 1].
        boxes: count the records that have character boxes.
        log: told of a first pass over the labels that takes a while; None for no lines.

    Attributes:
        numbers: of the records, ascending, uint32.
        report: of the filter.

    Raises:
        DataError: not an LMDB of this format, or nothing is left.

    """

    def __init__(
        self,
        path: Path,
        label_filter: LabelFilter,
        usage_ratio: float = 1.0,
        boxes: bool = False,
        log: RunLog | None = None,
    ):
        self.path = Path(path)
        # One file under two spellings is still one environment.
        self._resolved = self.path.resolve()
        self.label_filter = label_filter
        log = log or RunLog(enabled=False)
        try:
            with _environment(self._resolved).begin() as transaction:
                self.declared = count_records(transaction, self.path)
                self.stand_in = _note(transaction.get(STAND_IN.encode()))
                index = record_index(self._resolved, transaction, self.declared, label_filter, log)
        except DAMAGE as error:
            raise damaged(self.path, error) from None
        self.report = index.report
        if not len(index.numbers):
            raise DataError(label_filter.nothing_left(self.path, self.declared, self.report))
        used = max(1, int(len(index.numbers) * usage_ratio))
        self.report.leave_out(len(index.numbers) - used, "beyond --total_data_usage_ratio")
        self.numbers = index.numbers[:used]
        self.report.kept = used
        if boxes:
            last = self.numbers[-1]
            self.report.with_boxes = int(np.searchsorted(index.boxed, last, side="right"))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getstate__(self) -> dict:
        # Spawned workers map the file themselves instead of getting a copy of it each.
        state = dict(vars(self))
        if isinstance(self.numbers, np.memmap):
            state["numbers"] = (self.numbers.filename, len(self.numbers))
        return state

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        if isinstance(self.numbers, tuple):
            file, used = self.numbers
            self.numbers = np.load(file, mmap_mode="r", allow_pickle=False)[:used]

    def contents(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Image and label of every record as they are stored, in order, whatever the filter.

        Raises:
            DataError: as `read`.

        """
        try:
            with _environment(self._resolved).begin() as transaction:
                for number in range(1, self.declared + 1):
                    record = stored_record(transaction, number)
                    yield record.image, record.label
        except DAMAGE as error:
            raise DataError(f"{self.path} can't be read ({damage_in_words(error)})") from None

    def name_of(self, number: int) -> str:
        """A record in words."""
        return f"{self.path} {self.local_name(number)}"

    def local_name(self, number: int) -> str:
        """A record in words, within the LMDB."""
        return f"record {number}"

    def read(self, number: int) -> tuple[bytes | None, str]:
        """Image bytes (None where the record has none) and normalised label of a record.

        Raises:
            DataError: the LMDB is gone, damaged at this place, or another one since it was opened.

        """
        record, label, _ = self._record(number)
        return record.image, self._text(label)

    def read_with_boxes(self, number: int) -> tuple[bytes | None, str, tuple[CharBox, ...] | None]:
        """As `read`, and the box of each character of the label; None for a record without.

        Raises:
            BoxesError: damaged boxes, or others than those of the label's characters.
            DataError: as `read`.

        """
        record, label, boxes = self._record(number)
        text = self._text(label)
        if record.boxes is not None:
            boxes = parse_boxes(record.boxes)
        if boxes is not None:
            boxes = match_boxes(boxes, label, self.label_filter.charset)
        return record.image, text, boxes

    def _record(self, number: int) -> tuple[StoredRecord, str, tuple[CharBox, ...] | None]:
        """A record, its label as annotated, and the boxes that the label holds."""
        try:
            with _environment(self._resolved).begin() as transaction:
                record = stored_record(transaction, number)
        except DAMAGE as error:
            what = damage_in_words(error)
            raise DataError(f"the LMDB can't be read at this place ({what})") from None
        try:
            return record, *read_label(record.label)
        # The index holds none without a label that can be read.
        except (TypeError, UnicodeDecodeError, BoxesError):
            raise DataError(CHANGED) from None

    def _text(self, label: str) -> str:
        text = self.label_filter.charset.normalize(label).text
        if self.label_filter.fault(label, text):  # nor one that the filter leaves out
            raise DataError(CHANGED)
        return text


def _note(stored: bytes | None) -> dict | None:
    """What a set says of itself where it is rendered; any mark at all counts."""
    if stored is None:
        return None
    try:
        note = json.loads(stored)
    except ValueError:
        note = None
    return note if isinstance(note, dict) else {"note": "not readable"}


def find_lmdbs(root: Path | str) -> list[Path]:
    """Folders with a `data.mdb` below (or at) a root, sorted; symbolic links are followed.

    Raises:
        DataError: no such folder, or no LMDB in it.

    """
    root = Path(root)
    if not root.is_dir():
        what = "a file" if root.exists() else "missing"
        raise DataError(
            f"The data folder {root} is {what}. data/README.md tells what belongs there; "
            "`python3 tools/make_sample_data.py data` makes sample data."
        )
    found = sorted(_walk(root, frozenset()))
    if not found:
        inside = sorted(p.name for p in root.iterdir())
        scored = ""
        if "gt.txt" in inside:
            scored = " (test_final.py --eval_img scores those as they are)"
        raise DataError(
            f"There is no LMDB (a folder with data.mdb) below {root}; it holds {first_of(inside)}. "
            f"tools/create_lmdb_dataset.py makes one from images and a gt.txt{scored}."
        )
    return found


def folder_name(place: Path) -> str:
    """Name of a folder, be it `.`."""
    return place.name or place.resolve().name


def benchmark_below(root: Path, lmdb: Path) -> str | None:
    """As `benchmark_name`, of an LMDB below (or at) a root."""
    below = lmdb.relative_to(root)
    return benchmark_name(below if below.parts else Path(folder_name(lmdb)))


def _walk(folder: Path, ancestors: frozenset[Path]) -> Iterator[Path]:
    resolved = folder.resolve()
    if resolved in ancestors:  # a link that leads back
        return
    if (folder / "data.mdb").is_file():
        yield folder
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            yield from _walk(child, ancestors | {resolved})


def repeated(places: Iterable[Path]) -> list[Path]:
    """The places that occur more than once."""
    return [path for path, times in Counter(places).items() if times > 1]


def select_lmdbs(root: Path | str, name: str) -> list[Path]:
    """LMDBs below a root with a folder of that name on their path; `/` stands for all.

    Raises:
        DataError: none has; the message lists the folders that are there.

    """
    root = Path(root)
    found = find_lmdbs(root)
    chosen = [p for p in found if name == "/" or name in p.relative_to(root).parts]
    if not chosen and name == root.resolve().name:
        raise DataError(
            f"--select_data {name} looks for LMDBs below a folder {name!r} within {root}, which is "
            f"{name!r} itself; give the folder around it, or --select_data / for all in it."
        )
    if not chosen:
        there = sorted({part for p in found for part in p.relative_to(root).parts})
        cure = ""
        if any("-" in part for part in there):
            cure = " One with a dash in its name can't be selected: rename it."
        raise DataError(
            f"No LMDB below {root} lies in a folder {name!r} (--select_data; dashes separate "
            f"folders); folders that are there: {', '.join(there) or 'none'}.{cure}"
        )
    return chosen


def open_evaluation_sets(
    root: Path | str,
    label_filter: LabelFilter,
    names: Collection[str] | None = None,
    log: RunLog | None = None,
) -> dict[str, LmdbSet]:
    """Every LMDB below a root, by its folder's name (by its path, where two share a name).

    Args:
        root: the folder.
        label_filter: decides which records are compared.
        names: only folders of these names, or of benchmarks so called; None for all.
        log: as in `LmdbSet`.

    Raises:
        DataError: none is there.

    """
    root = Path(root)
    paths = found = find_lmdbs(root)
    if names is not None:
        paths = [p for p in found if {folder_name(p), benchmark_below(root, p)} & set(names)]
        if not paths:
            raise DataError(
                f"None of {', '.join(names)} is below {root}; it has "
                f"{', '.join(map(folder_name, found))}."
            )
    if log is not None:
        for path in repeated(p.resolve() for p in paths):
            log(f"warning: {path} is there more than once, by a link, and counts as often")
    plain = [folder_name(p) for p in paths]
    sets = {}
    for path, name in zip(paths, plain, strict=True):
        if plain.count(name) > 1:
            name = path.relative_to(root).as_posix()
        sets[name] = LmdbSet(path, label_filter, log=log)
    return sets
