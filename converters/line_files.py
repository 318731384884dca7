"""Sources that have a line of text for each image, of which any number costs no memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from converters.annotation_file import fingerprint
from converters.copying import AnnotatedImage, copy_images
from converters.source import Dropped, Word
from records.labelled_folder import BadLineError, decode_line

LINES_PER_TASK = 200
LineParser = Callable[[str], AnnotatedImage | Dropped]  # raises BadLineError


@dataclass(frozen=True)
class Lines:
    """Some lines of a file, as they are stored.

    Attributes:
        file: its name.
        first: number of the first of them, from 1.
        lines: with their ends.

    """

    file: str
    first: int
    lines: tuple[bytes, ...]


class LineList:
    """The `Source` of the images that have a line in UTF-8 files. Empty lines are passed over.

    Args:
        job: what decides about the records, besides what follows.
        files: the files, in order.
        parse: what a line says; a module's function, or a `partial` of one.
        folder: where the images' paths start.
        check: decode every image, and drop what can't be decoded.

    """

    def __init__(
        self, job: dict, files: Sequence[Path], parse: LineParser, folder: Path, check: bool
    ):
        annotations = [fingerprint(file) for file in files]
        self.job = {**job, "input": str(folder), "files": annotations, "check": check}
        self.convert = partial(_convert_lines, parse=parse, folder=folder, check=check)
        self._starts = [start for file in files for start in _task_starts(file)]

    def __len__(self) -> int:
        return len(self._starts)

    def tasks(self, start: int) -> Iterator[Lines]:
        """Some lines each, from task `start` on."""
        for file, offset, first in islice(self._starts, start, None):
            with file.open("rb") as stream:
                stream.seek(offset)
                yield Lines(file.name, first, tuple(islice(stream, LINES_PER_TASK)))


def parse_lines(task: Lines, parse: LineParser) -> list[AnnotatedImage | Dropped]:
    """What the lines say; one that says nothing is dropped, with its number."""
    entries = []
    for number, raw in enumerate(task.lines, start=task.first):
        try:
            line = decode_line(raw, number)
            if line.strip():
                entries.append(parse(line))
        except BadLineError as error:
            entries.append(Dropped("bad line", f"{task.file} line {number}: {error}"))
    return entries


def _convert_lines(
    task: Lines, parse: LineParser, folder: Path, check: bool
) -> list[Word | Dropped]:
    return copy_images(parse_lines(task, parse), folder, check)


def _task_starts(file: Path) -> Iterator[tuple[Path, int, int]]:
    """File, offset and number of every line that a task begins with."""
    offset = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number % LINES_PER_TASK == 1:
                yield file, offset, number
            offset += len(line)
