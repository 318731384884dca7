"""A folder of images with a ground-truth file: path, tab, label, one a line, UTF-8."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_filter import FilterReport, LabelFilter
from lmdb_file import DataError


@dataclass(frozen=True)
class GroundTruth:
    """The lines of a ground-truth file: (path, label) of the good ones, and what is wrong with
    the others, by line number."""

    entries: tuple[tuple[str, str], ...]
    bad_lines: tuple[tuple[int, str], ...]


def read_ground_truth(file: Path) -> GroundTruth:
    """Read a `gt.txt`. A line without a tab may have its label after the first space.

    Raises:
        DataError: no such file.

    """
    if not file.is_file():
        raise DataError(
            f"There is no ground-truth file {file}; it has a line for each image: path, tab, label."
        )
    entries, bad = [], []
    for number, raw in enumerate(file.read_bytes().split(b"\n"), start=1):
        raw = raw.removesuffix(b"\r")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if not raw.strip():
            continue
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            bad.append((number, f"not UTF-8 at byte {error.start}"))
            continue
        path, tab, label = line.partition("\t")
        if not tab:
            path, tab, label = line.partition(" ")
        if not tab or not path.strip():
            bad.append((number, f"no tab between path and label: {line[:60]!r}"))
        elif not label.strip():
            bad.append((number, f"no label for {path}"))
        else:
            entries.append((path.strip(), label))
    return GroundTruth(tuple(entries), tuple(bad))


class LabelledFolder:
    """The usable images of a folder with a `gt.txt`; stands where an `LmdbSet` can.

    Raises:
        DataError: no ground-truth file, or nothing is left.

    """

    stand_in = None

    def __init__(self, path: Path | str, label_filter: LabelFilter):
        self.path = Path(path)
        self.charset = label_filter.charset
        self.report = FilterReport()
        truth = read_ground_truth(self.path / "gt.txt")
        for number, problem in truth.bad_lines:
            self.report.drop("bad line", f"gt.txt line {number}: {problem}")
        self._entries = [e for e in truth.entries if label_filter.accepts(e[1], self.report)]
        self.report.kept = len(self._entries)
        if not self._entries:
            declared = len(truth.entries) + len(truth.bad_lines)
            raise DataError(label_filter.nothing_left(self.path, declared, self.report))
        self.numbers = np.arange(len(self._entries), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, number: int) -> tuple[bytes | None, str]:
        """Image bytes (None where the file can't be read) and normalised label."""
        path, label = self._entries[number]
        return read_file(self.path / path), self.charset.normalize(label).text


def read_file(path: Path) -> bytes | None:
    """A file's bytes; None where it is missing, or the system refuses it."""
    try:
        return path.read_bytes()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
