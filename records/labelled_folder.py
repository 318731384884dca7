"""A folder of images with a ground-truth file: path, tab, label, one a line, UTF-8."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import numpy as np

from records.label_filter import FilterReport, LabelFilter
from records.lmdb_file import DataError

LEADS_OUT = "path leads out of the folder"


class BadLineError(ValueError):
    """A line that can't be used; the message says why."""


@dataclass(frozen=True)
class GroundTruth:
    """The lines of a ground-truth file: (path, label) of the good ones, and what is wrong with
    the others, by line number."""

    entries: tuple[tuple[str, str], ...]
    bad_lines: tuple[tuple[int, str], ...]


def read_ground_truth(file: Path) -> GroundTruth:
    """Read a `gt.txt`. A line without a tab may have its label after the first space.

    A line whose path leads out of the file's folder is a bad one.

    Raises:
        DataError: no such file.

    """
    if not file.is_file():
        raise DataError(
            f"There is no ground-truth file {file}; it has a line for each image: path, tab, label."
        )
    entries, bad = [], []
    for number, raw in enumerate(file.read_bytes().split(b"\n"), start=1):
        try:
            line = decode_line(raw, number)
            if line.strip():
                path, label = split_word_line(line)
                if path_below(file.parent, path) is None:
                    raise BadLineError(f"{LEADS_OUT}: {path}")
                entries.append((path, label))
        except BadLineError as error:
            bad.append((number, str(error)))
    return GroundTruth(tuple(entries), tuple(bad))


def decode_line(raw: bytes, number: int) -> str:
    """A line of a UTF-8 file, by its number from 1, without its end and the file's mark (BOM).

    Raises:
        BadLineError: not UTF-8, or several lines with ends of old Macs.

    """
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if b"\r" in raw:
        raise BadLineError("a carriage return in the line: end lines with \\n or \\r\\n")
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLineError(f"not UTF-8 at byte {error.start}") from None


def split_line(line: str) -> tuple[str, str]:
    """Path and label of a line of a `gt.txt`: at its tab or, without one, at its first space.

    Raises:
        BadLineError: one of them is missing.

    """
    path, separator, label = line.partition("\t")
    if not separator:
        path, separator, label = line.strip().partition(" ")
    if not separator or not path.strip():
        raise BadLineError(f"no tab between path and label: {line[:60]!r}")
    if not label.strip():
        raise BadLineError(f"no label for {path}")
    return path.strip(), label


def split_word_line(line: str) -> tuple[str, str]:
    """As `split_line`, where the label is all that there is after the path but white space.

    Raises:
        BadLineError: one of them is missing, or there is more.

    """
    path, label = split_line(line)
    if "\t" in label:  # a lexicon behind the label
        raise BadLineError(f"another tab in the label of {path}")
    return path, label.strip()


class LabelledFolder:
    """The usable images of a folder with a `gt.txt`; stands where an `LmdbSet` can.

    Raises:
        DataError: no ground-truth file, or nothing is left.

    """

    stand_in = None

    def __init__(self, path: Path | str, label_filter: LabelFilter):
        self.path = Path(path)
        self.charset = label_filter.charset
        self.report = FilterReport(trainable=label_filter.trainable)
        truth = read_ground_truth(self.path / "gt.txt")
        self._annotated = truth.entries
        self.declared = len(truth.entries) + len(truth.bad_lines)
        for number, problem in truth.bad_lines:
            self.report.drop("bad line", f"gt.txt line {number}: {problem}")
        self._entries = [e for e in truth.entries if label_filter.accepts(e[1], self.report)]
        self.report.kept = len(self._entries)
        if not self._entries:
            raise DataError(label_filter.nothing_left(self.path, self.declared, self.report))
        self.numbers = np.arange(len(self._entries), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.numbers)

    def contents(self) -> Iterator[tuple[bytes | None, bytes]]:
        """Image and label of every good line as they are stored, in order."""
        for path, label in self._annotated:
            yield read_file(self.path / path), label.encode("utf-8")

    def name_of(self, number: int) -> str:
        """The image's file."""
        return str(self.path / self.local_name(number))

    def local_name(self, number: int) -> str:
        """The image's file, below the folder."""
        return self._entries[number][0]

    def read(self, number: int) -> tuple[bytes | None, str]:
        """Image bytes (None where the file can't be read) and normalised label."""
        path, label = self._entries[number]
        return read_file(self.path / path), self.charset.normalize(label).text


def path_below(folder: Path, name: str) -> PurePath | None:
    """The path below a folder that a list in it names; None where it leads out.

    A list may come from anywhere, and must not pick files from anywhere.
    """
    path = PurePosixPath(name)
    if path.is_absolute():
        for place in (folder.absolute(), folder.resolve()):
            if path.is_relative_to(place):
                path = path.relative_to(place)
    leads_out = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive
    return None if leads_out else path


def read_file(path: Path) -> bytes | None:
    """A file's bytes; None where it is missing, no file, or the system refuses it."""
    try:
        return path.read_bytes() if path.is_file() else None  # reading a pipe would never end
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
