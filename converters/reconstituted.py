"""The official "reconstituted ST": an LMDB whose labels are pickles of boxes and words.

Nothing in the pickles is run. Images are copied as they are.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import lmdb

from converters.annotation_file import fingerprint
from converters.lost_word import LostWordError, usable_label
from converters.named_boxes import name_boxes
from converters.source import Dropped, Word
from records.char_boxes import BoxesError
from records.lmdb_file import count_records, reading, stored_record
from records.official_labels import read_official_label

RECORDS_PER_TASK = 500


class ReconstitutedST:
    """The `Source` of its words and their boxes.

    Args:
        path: folder of the official LMDB.

    Raises:
        DataError: no LMDB, or one of another format.

    """

    def __init__(self, path: Path):
        with reading(path) as transaction:
            self._count = count_records(transaction, path)
        # Another LMDB in the same place must not be gone on with amid the first.
        file = fingerprint(path / "data.mdb")
        self.job = {"kind": "reconstituted-st", "input": str(path), "file": file}
        self.convert = partial(_convert_records, path=path)

    def __len__(self) -> int:
        return -(-self._count // RECORDS_PER_TASK)

    def tasks(self, start: int) -> Iterator[range]:
        """Numbers of some records each, from task `start` on."""
        for first in range(1 + start * RECORDS_PER_TASK, self._count + 1, RECORDS_PER_TASK):
            yield range(first, min(first + RECORDS_PER_TASK, self._count + 1))


def _convert_records(numbers: range, path: Path) -> list[Word | Dropped]:
    with reading(path) as transaction:
        return [_convert_record(transaction, number) for number in numbers]


def _convert_record(transaction: lmdb.Transaction, number: int) -> Word | Dropped:
    record = stored_record(transaction, number)
    which = f"label-{number:09d}"
    try:
        if not record.image:
            raise LostWordError("no image")
        if record.label is None:
            raise LostWordError("no label")
        word, boxes = read_official_label(record.label)
        label = usable_label(word)
    except LostWordError as error:
        return error.dropped(which)
    except BoxesError as error:  # of a label that can't be read
        return Dropped(error.reason, which)
    try:
        return Word(record.image, label, name_boxes(boxes, word))
    except BoxesError as error:
        return Word(record.image, label, None, (error.reason, f"{which}: {error}"))
