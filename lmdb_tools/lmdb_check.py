"""The check of one LMDB: itself, and its records in parallel."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lmdb_tools.crash_proof_pool import CrashProofPool
from lmdb_tools.findings import Example, Findings
from lmdb_tools.purpose import TRAINING
from lmdb_tools.reasons import (
    BAD_COUNT,
    NO_RECORD,
    NO_RECORDS,
    ODD_KEYS,
    OTHER_SIZE,
    UNCOUNTED,
    UNOPENABLE,
    Reason,
)
from lmdb_tools.record_batch import BatchTask
from lmdb_tools.record_check import UNUSABLE, Rules
from lmdb_tools.survey import Survey, survey_lmdb
from lmdb_tools.watched_lmdb import BATCH
from records.benchmarks import EXPECTED_IMAGES
from records.lmdb_file import STAND_IN, DataError


@dataclass
class CheckedLmdb:
    """What was found in an LMDB.

    Attributes:
        path: its folder.
        purpose: TRAINING, EVALUATION or None.
        survey: without its records; None where it can't be read.
        findings: what is wrong.
        flags: UNUSABLE and WITHOUT_BOXES for each of the survey's records, uint8.
        image_hashes: for each of them, uint64; 0 for an unusable one.
        label_hashes: for each of them, uint32.
        sha256: of the contents in record order (see `content_hash`), as test_final.py prints it.

    """

    path: Path
    purpose: str | None
    survey: Survey | None = None
    findings: Findings = field(default_factory=Findings)
    flags: np.ndarray = field(default_factory=partial(np.zeros, 0, np.uint8))
    image_hashes: np.ndarray = field(default_factory=partial(np.zeros, 0, np.uint64))
    label_hashes: np.ndarray = field(default_factory=partial(np.zeros, 0, np.uint32))
    sha256: str | None = None

    @property
    def records(self) -> int:
        """How many there are, whatever is wrong with them."""
        if self.survey is None:
            return 0
        looked_for_only = self.findings.counts[NO_RECORD] - self.survey.missing_beyond
        return len(self.flags) - looked_for_only

    @property
    def usable(self) -> int:
        """Records that a cleaned copy keeps."""
        return int(np.count_nonzero(~self.flags & UNUSABLE))

    def add(self, reason: Reason, detail: str, record: int | None = None, count: int = 1) -> None:
        """Count a finding."""
        self.findings.add(reason, Example(str(self.path), record, detail), count)


def survey_for_check(path: Path, purpose: str | None, pool: CrashProofPool) -> CheckedLmdb:
    """What is to be said of an LMDB before its records are looked at."""
    checked = CheckedLmdb(path, purpose)
    try:
        (checked.survey,) = pool.run([partial(survey_lmdb, path)], f"the LMDB {path}")
    except DataError as error:
        checked.add(UNOPENABLE, str(error))
    return checked


def check_lmdb(
    checked: CheckedLmdb, rules: Rules, pool: CrashProofPool, advance: Callable[[int], None]
) -> None:
    """Check a surveyed LMDB's records.

    Args:
        checked: takes what is found.
        rules: to check against.
        pool: to work in.
        advance: is told how many records more are done.

    """
    survey = checked.survey
    _check_count(checked)
    digest = hashlib.sha256()
    starts = range(0, len(survey.numbers), BATCH)
    tasks = (
        BatchTask(checked.path, survey.stamp, survey.numbers[s : s + BATCH], rules) for s in starts
    )
    # In place, as a list of small arrays and their sum would need the memory twice.
    size = len(survey.numbers)
    flags, images, labels = np.zeros(size, np.uint8), np.zeros(size, "<u8"), np.zeros(size, "<u4")
    try:
        for start, batch in zip(starts, pool.run(tasks, f"the LMDB {checked.path}"), strict=True):
            place = slice(start, start + len(batch.flags))
            flags[place], images[place] = batch.flags, batch.image_hashes
            labels[place] = batch.label_hashes
            checked.findings.merge(batch.findings)
            digest.update(batch.digests)
            advance(len(batch.flags))
    except DataError as error:
        checked.findings, checked.survey = Findings(), None
        checked.add(UNOPENABLE, str(error))
        return
    checked.flags, checked.image_hashes, checked.label_hashes = flags, images, labels
    checked.sha256 = digest.hexdigest()
    if not checked.records:
        checked.add(NO_RECORDS, "")
    _check_size(checked)


def _check_count(checked: CheckedLmdb) -> None:
    survey = checked.survey
    if survey.count_problem:
        checked.add(BAD_COUNT, survey.count_problem)
    if survey.missing_beyond:
        says = f"num-samples says {survey.declared:,}"
        checked.add(NO_RECORD, says, survey.declared, survey.missing_beyond)
    if survey.odd_keys:
        checked.add(ODD_KEYS, repr(survey.odd_key), count=survey.odd_keys)
    if survey.declared is not None:
        uncounted = (survey.numbers == 0) | (survey.numbers > survey.declared)
        if uncounted.any():
            says = f"num-samples says {survey.declared:,}, and records count from 1"
            first = int(survey.numbers[uncounted][0])
            checked.add(UNCOUNTED, says, first, int(np.count_nonzero(uncounted)))


def _check_size(checked: CheckedLmdb) -> None:
    expected = EXPECTED_IMAGES.get(checked.path.name)
    if (
        expected not in (None, checked.records)
        and checked.purpose != TRAINING
        and STAND_IN not in checked.survey.notes
    ):
        checked.add(OTHER_SIZE, f"{checked.records:,} images instead of {expected:,}")
