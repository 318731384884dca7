"""The sets that a model is scored on: opened once, called by their benchmarks' names, hashed."""

from argparse import Namespace
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from console.progress import Progress, RunLog
from records.benchmarks import SIX
from records.content_hash import content_hash
from records.label_filter import LabelFilter
from records.labelled_folder import LabelledFolder
from records.lmdb_set import LmdbSet, benchmark_below, folder_name, open_evaluation_sets
from text import Charset

WORTH_A_BAR = 20_000  # records


@dataclass(frozen=True)
class Contents:
    """What a set holds, whatever a filter leaves out.

    Attributes:
        name: of the set.
        path: where it was found.
        records: as it declares.
        sha256: of the stored images and labels in order; the same for every copy of the set,
            however its LMDB was written.
        compared: records that are compared.
        left_out: how many are not, by reason.

    """

    name: str
    path: str
    records: int
    sha256: str
    compared: int
    left_out: dict[str, int]

    def less(self, unreadable: int) -> "Contents":
        """The same, some of whose images could not be read."""
        if not unreadable:
            return self
        left_out = {**self.left_out, "unreadable image": unreadable}
        return replace(self, compared=self.compared - unreadable, left_out=left_out)


class EvaluationSets:
    """The sets below `--eval_data`, as charsets of several models may read their labels."""

    def __init__(self, options: Namespace, log: RunLog):
        self._options, self._log = options, log
        self._opened: dict[Charset, dict[str, LmdbSet | LabelledFolder]] = {}

    def open(self, scored: Charset) -> dict[str, LmdbSet | LabelledFolder]:
        """The sets by name, with their labels in a charset.

        No label is left out for its length: one that a model can't read is an error of the model.

        Raises:
            DataError: nothing is there, or nothing is left of a set.

        """
        if scored not in self._opened:
            self._opened[scored] = self._open(scored)
        return self._opened[scored]

    def _open(self, scored: Charset) -> dict[str, LmdbSet | LabelledFolder]:
        options = self._options
        filtering = not options.data_filtering_off
        label_filter = LabelFilter(scored, None, filtering, trainable=False)
        place = Path(options.eval_data)
        if options.eval_img:
            sets = {folder_name(place): LabelledFolder(place, label_filter)}
        else:
            wanted = SIX if options.fast_acc else None
            sets = open_evaluation_sets(place, label_filter, wanted, self._log)
            names = {n: benchmark_below(place, s.path) or n for n, s in sets.items()}
            times = Counter(names.values())
            # Two of one name keep their own, so that neither is lost.
            sets = {names[n] if times[names[n]] == 1 else n: s for n, s in sets.items()}
        for name, opened in sets.items():
            if opened.report.dropped or opened.report.altered:
                self._log(f"{name}: {opened.report}")
        return sets

    @cached_property
    def contents(self) -> tuple[Contents, ...]:
        """Number and hash of every set; reads all records, the first time that it is asked for."""
        sets = next(iter(self._opened.values()))
        records = sum(opened.declared for opened in sets.values())
        log = self._log if records >= WORTH_A_BAR else RunLog(enabled=False)
        progress = Progress(records, "hash", log, unit="records")
        found = tuple(
            Contents(
                name=name,
                path=str(opened.path),
                records=opened.declared,
                sha256=content_hash(opened.contents(), progress.update),
                compared=len(opened),
                left_out=dict(opened.report.dropped),
            )
            for name, opened in sets.items()
        )
        progress.close()
        return found
