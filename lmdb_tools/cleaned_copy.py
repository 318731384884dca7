"""A copy of a checked tree without what is wrong in it."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console.progress import Progress, RunLog
from lmdb_tools.lmdb_check import CheckedLmdb
from lmdb_tools.record_check import UNUSABLE, WITHOUT_BOXES
from lmdb_tools.stored_label import read_label
from lmdb_tools.watched_lmdb import read_records
from lmdb_tools.whole_folder import require_free, whole_folder
from records.lmdb_file import DataError
from records.lmdb_writer import LmdbWriter


@dataclass
class CopyReport:
    """What became of a tree's records.

    Attributes:
        output: folder of the copy.
        kept: records in it.
        left_out: records that are not.
        without_boxes: kept records that lost their boxes.
        lost: LMDBs of which nothing is left.

    """

    output: Path
    kept: int = 0
    left_out: int = 0
    without_boxes: int = 0
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = (
            f"{self.output}: {self.kept:,} records written ({self.without_boxes:,} of them without "
            f"their bad boxes), {self.left_out:,} left out"
        )
        return f"{text}; nothing is left of {', '.join(self.lost)}" if self.lost else text


def refuse_place(root: Path, output: Path) -> None:
    """Refuse a place for a copy that can't be.

    Raises:
        DataError: one of the folders is in the other.
        FileExistsError: something is there.

    """
    source, target = root.resolve(), output.resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise DataError(
            f"--fix {output}: a copy can't lie in {root}, nor around it; name a folder beside it."
        )
    require_free(output)


def write_cleaned_copy(
    root: Path, lmdbs: Sequence[CheckedLmdb], output: Path, log: RunLog
) -> CopyReport:
    """Copy each LMDB's usable records to the same place below `output`.

    Bad boxes are left out, and so are LMDBs of which nothing is left.

    Args:
        root: of the tree.
        lmdbs: checked LMDBs of the tree.
        output: folder of the copy.
        log: takes the lines of progress, where there is no terminal.

    Raises:
        DataError: an LMDB can't be read any more, or nothing would be left.
        FileExistsError: something is at `output`.

    """
    report = CopyReport(output)
    total = sum(one.usable for one in lmdbs)
    if not total:
        raise DataError(f"No record of {root} can be used, so {output} was not written.")
    with (
        whole_folder(output) as partial,
        closing(Progress(total, "copy", log, unit="records")) as progress,
    ):
        for one in lmdbs:
            report.left_out += one.records - one.usable
            if not one.usable:
                report.lost += (str(one.path),)
                continue
            _copy(one, partial / one.path.relative_to(root), progress)
            report.kept += one.usable
            report.without_boxes += int(np.count_nonzero(_without_boxes(one)))
    return report


def _without_boxes(one: CheckedLmdb) -> np.ndarray:
    return one.flags == WITHOUT_BOXES


def _copy(one: CheckedLmdb, target: Path, progress: Progress) -> None:
    kept = one.flags & UNUSABLE == 0
    without_boxes = _without_boxes(one)[kept]
    records = read_records(one.path, one.survey.stamp, one.survey.numbers[kept])
    with LmdbWriter(target) as writer:
        for key, note in one.survey.notes.items():
            writer.set_note(note, key)
        for record, boxless in zip(records, without_boxes, strict=True):
            if boxless:
                # A pickled label has the boxes in it.
                writer.write(record.image, read_label(record.label)[0])
            else:
                writer.write(record.image, record.label, record.boxes)
            progress.update(1)
