"""Which records of an LMDB can be copied, and copying them byte for byte."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from console.progress import Progress, RunLog
from lmdb_tools.crash_proof_pool import CrashProofPool
from lmdb_tools.reasons import NO_RECORD, UNCOUNTED, Reason
from lmdb_tools.stored_label import RecordError, read_record
from lmdb_tools.survey import Survey, survey_lmdb
from lmdb_tools.watched_lmdb import BATCH, read_records
from records.label_filter import FilterReport
from records.lmdb_file import DataError, StoredRecord
from records.lmdb_writer import LmdbWriter


@dataclass(frozen=True)
class UsableRecords:
    """The records of an LMDB with an image that is not empty and a label that can be read.

    Attributes:
        survey: of the LMDB.
        numbers: of these records, ascending, uint32.
        report: counts what is not among them.

    """

    survey: Survey
    numbers: np.ndarray
    report: FilterReport

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, numbers: np.ndarray) -> Iterator[StoredRecord]:
        """Records by their numbers; raises DataError where the LMDB changed meanwhile."""
        return read_records(self.survey.path, self.survey.stamp, numbers)


@dataclass(frozen=True)
class _Look:
    """A task: why records of a batch can't be used, by their places in it."""

    survey: Survey  # without its numbers
    numbers: np.ndarray

    def __call__(self) -> list[tuple[int, Reason]]:
        faults = []
        records = read_records(self.survey.path, self.survey.stamp, self.numbers, buffers=True)
        for place, record in enumerate(records):
            try:
                if not 1 <= record.number <= self.survey.declared:
                    raise RecordError(UNCOUNTED)
                read_record(record)
                bytes(record.image[-1:])  # where the page is not there, this process ends
            except RecordError as fault:
                faults.append((place, fault.reason))
        return faults


def find_usable(path: Path, jobs: int, log: RunLog) -> UsableRecords:
    """Look at all records of an LMDB; images are not decoded.

    Args:
        path: folder of the LMDB.
        jobs: processes.
        log: takes the lines of progress, where there is no terminal.

    Raises:
        DataError: no LMDB, a damaged one, or nothing in it can be used.

    """
    what = f"the LMDB {path}"
    with CrashProofPool(jobs) as pool:
        (survey,) = pool.run([partial(survey_lmdb, path)], what)
        if survey.count_problem:
            raise DataError(f"{survey.count_problem} `tools/check_data.py --fix` may mend it.")
        report = FilterReport()
        report.leave_out(survey.missing_beyond, NO_RECORD.text)
        numbers = survey.numbers
        usable = np.ones(len(numbers), dtype=bool)
        short = replace(survey, numbers=numbers[:0])
        starts = range(0, len(numbers), BATCH)
        tasks = (_Look(short, numbers[start : start + BATCH]) for start in starts)
        with closing(Progress(len(numbers), f"read {path.name}", log, unit="records")) as progress:
            for start, faults in zip(starts, pool.run(tasks, what), strict=True):
                for place, reason in faults:
                    usable[start + place] = False
                    report.drop(reason.text, f"record {numbers[start + place]}")
                progress.update(min(BATCH, len(numbers) - start))
    report.kept = int(np.count_nonzero(usable))
    if not report.kept:
        raise DataError(f"Nothing in the LMDB {path} can be used: {report}")
    return UsableRecords(survey, numbers[usable], report)


def copy_records(
    usable: UsableRecords, numbers: np.ndarray, writer: LmdbWriter, progress: Progress
) -> None:
    """Append records as they are, in the order of the numbers.

    Raises:
        DataError: the LMDB changed meanwhile.

    """
    for record in usable.read(numbers):
        writer.write(record.image, record.label, record.boxes)
        progress.update(1)


def write_notes(writer: LmdbWriter, sources: Sequence[UsableRecords]) -> None:
    """Carry over what the sources say of themselves; different notes are listed in one."""
    notes: dict[str, list[dict]] = {}
    for source in sources:
        for key, note in source.survey.notes.items():
            kept = notes.setdefault(key, [])
            if note not in kept:
                kept.append(note)
    for key, kept in notes.items():
        writer.set_note(kept[0] if len(kept) == 1 else {"merged": kept}, key)
