"""Images that stand more than once in a tree, by the hashes of their files' bytes."""

from collections.abc import Callable, Sequence

import numpy as np

from lmdb_tools.findings import Example
from lmdb_tools.lmdb_check import CheckedLmdb
from lmdb_tools.purpose import EVALUATION, TRAINING
from lmdb_tools.reasons import IN_ANOTHER, LEAKED, REPEATED, TWO_LABELS, Reason
from lmdb_tools.record_check import UNUSABLE
from lmdb_tools.stored_label import RecordError, read_label
from lmdb_tools.watched_lmdb import read_records
from records.benchmarks import lies_in_another
from records.lmdb_file import DataError

PURPOSES = (None, TRAINING, EVALUATION)


class RepeatedImages:
    """The usable records whose image stands more than once, and what that means.

    Rows of the arrays are such records, sorted by image, purpose, LMDB and number.

    Args:
        checked: all LMDBs of a tree.

    """

    def __init__(self, checked: Sequence[CheckedLmdb]):
        self._checked = checked
        hashes = np.concatenate([np.zeros(0, "<u8"), *(one.image_hashes for one in checked)])
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        same = (hashes[1:] == hashes[:-1]) & (hashes[1:] != 0)
        repeated = np.zeros(len(hashes), dtype=bool)
        repeated[1:] |= same
        repeated[:-1] |= same
        where, hashes = order[repeated], hashes[repeated]
        del order, repeated, same
        starts = np.cumsum([0, *(len(one.image_hashes) for one in checked)])
        lmdb = np.searchsorted(starts, where, side="right") - 1
        purposes = np.array([PURPOSES.index(one.purpose) for one in checked], dtype=np.int64)
        # Stable, so LMDBs and records keep their order.
        order = np.lexsort((purposes[lmdb], hashes))
        self._lmdb, self._position = lmdb[order], (where - starts[lmdb])[order]
        self._purpose, hashes = purposes[self._lmdb], hashes[order]
        self._image = np.unique(hashes, return_inverse=True)[1]  # numbers of images, from 0
        self._label = np.zeros(len(hashes), np.uint32)
        for index, one in enumerate(checked):
            here = self._lmdb == index
            self._label[here] = one.label_hashes[self._position[here]]

    def report(self) -> list[tuple[str, str, int]]:
        """Add to each LMDB's findings, and mark leaked records as unusable.

        Returns:
            (training LMDB, evaluation LMDB, images in both), the most first.

        """
        if not len(self._image):
            return []
        two_labels = self._labels_per_image(np.minimum) != self._labels_per_image(np.maximum)
        in_conflict = two_labels[self._image]
        self._report_conflicts(in_conflict)
        self._report_repeats(in_conflict)
        return self._report_leaks()

    def _labels_per_image(self, function: np.ufunc) -> np.ndarray:
        starts = np.flatnonzero(np.append(True, self._image[1:] != self._image[:-1]))
        return function.reduceat(self._label, starts)

    def _report_repeats(self, in_conflict: np.ndarray) -> None:
        """Rows that the row before is equal to, of the same purpose."""
        same = (self._image[1:] == self._image[:-1]) & (self._purpose[1:] == self._purpose[:-1])
        same &= ~in_conflict[1:]
        here = self._lmdb[1:] == self._lmdb[:-1]
        self._add(REPEATED, 1 + np.flatnonzero(same & here), lambda row: self._name(row - 1))
        pair = self._lmdb[1:] * len(self._checked) + self._lmdb[:-1]
        elsewhere = 1 + np.flatnonzero(same & ~here & ~np.isin(pair, self._nested_pairs()))
        self._add(IN_ANOTHER, elsewhere, lambda row: self._name(row - 1))

    def _report_conflicts(self, in_conflict: np.ndarray) -> None:
        def describe(row: int) -> str:
            others = (self._image == self._image[row]) & (self._label != self._label[row])
            other = int(np.flatnonzero(others)[0])
            return f"{self._text(row)}, but {self._text(other)} in {self._name(other)}"

        self._add(TWO_LABELS, np.flatnonzero(in_conflict), describe)

    def _report_leaks(self) -> list[tuple[str, str, int]]:
        training = self._purpose == PURPOSES.index(TRAINING)
        evaluation = self._purpose == PURPOSES.index(EVALUATION)
        evaluated = np.unique(self._image[evaluation])
        leaked = np.flatnonzero(training & np.isin(self._image, evaluated))

        def describe(row: int) -> str:
            twins = np.flatnonzero(evaluation & (self._image == self._image[row]))
            return self._name(int(twins[0]))

        self._add(LEAKED, leaked, describe)
        for index, one in enumerate(self._checked):
            one.flags[self._position[leaked[self._lmdb[leaked] == index]]] |= UNUSABLE
        return self._pairs(leaked, evaluation)

    def _pairs(self, leaked: np.ndarray, evaluation: np.ndarray) -> list[tuple[str, str, int]]:
        shared = np.flatnonzero(evaluation & np.isin(self._image, self._image[leaked]))
        sets = {lmdb: self._images_of(lmdb, shared) for lmdb in np.unique(self._lmdb[shared])}
        pairs = []
        for lmdb in np.unique(self._lmdb[leaked]):
            images = self._images_of(lmdb, leaked)
            for other, others in sets.items():
                count = len(np.intersect1d(images, others, assume_unique=True))
                if count:
                    pairs.append((self._path(lmdb), self._path(other), count))
        return sorted(pairs, key=lambda pair: (-pair[2], pair))

    def _images_of(self, lmdb: int, rows: np.ndarray) -> np.ndarray:
        return np.unique(self._image[rows[self._lmdb[rows] == lmdb]])

    def _add(self, reason: Reason, rows: np.ndarray, describe: Callable[[int], str]) -> None:
        """Count rows in their LMDBs' findings; `describe` makes the example of one."""
        for index in np.unique(self._lmdb[rows]).tolist():
            here = rows[self._lmdb[rows] == index]
            here = here[np.argsort(self._position[here])]
            findings = self._checked[index].findings
            for row in here.tolist():
                if not findings.wants_example(reason):
                    break
                example = Example(self._path(index), self._number(row), describe(row))
                findings.add(reason, example)
            findings.counts[reason] = len(here)

    def _nested_pairs(self) -> list[int]:
        """Of sets that hold others by definition."""
        names = [one.path.name for one in self._checked]
        nested = [
            (i, k)
            for i, a in enumerate(names)
            for k, b in enumerate(names)
            if lies_in_another(a, [b]) or lies_in_another(b, [a])
        ]
        return [i * len(names) + k for i, k in nested]

    def _path(self, lmdb: int) -> str:
        return str(self._checked[lmdb].path)

    def _number(self, row: int) -> int:
        return int(self._checked[self._lmdb[row]].survey.numbers[self._position[row]])

    def _name(self, row: int) -> str:
        return f"{self._path(self._lmdb[row])} record {self._number(row)}"

    def _text(self, row: int) -> str:
        """The label, for an example."""
        survey = self._checked[self._lmdb[row]].survey
        number = np.array([self._number(row)])
        try:
            (record,) = read_records(survey.path, survey.stamp, number)
            return repr(read_label(record.label)[0][:40])
        except (DataError, RecordError):  # the file is gone by now
            return "a label"
