"""Word recognition (task 3) of ICDAR 2013 and 2015: a folder of word images, and their words.

D. Karatzas et al., ICDAR 2013 Robust Reading Competition; ICDAR 2015 Competition on Robust
Reading. A line of the ground truth is `word_1.png, "Tiredness"`, where the word has \\" for a
quotation mark and \\\\ for a backslash.
"""

import re
from functools import partial
from pathlib import Path

from converters.annotation_file import fingerprint, require_file
from converters.copying import AnnotatedImage
from converters.line_files import LineList, parse_lines
from converters.source import Dropped
from records.labelled_folder import BadLineError
from records.lmdb_file import DataError

_LINE = re.compile(r'([^,"]+),\s*"(.*)"')
_ESCAPED = re.compile(r'\\(["\\])')
_LETTERS_AND_DIGITS = re.compile("[0-9A-Za-z]+")
# As the organisers call the files.
GROUND_TRUTHS = {
    "icdar2013": ("gt.txt", "Challenge2_Test_Task3_GT.txt"),
    "icdar2015": ("gt.txt", "Challenge4_Test_Task3_GT.txt"),
}
# Of the 2013 test images: the fewest characters of a word, all of them letters and digits.
SHORTEST = {"1015": 1, "857": 3}
SUBSETS = {"icdar2013": ("all", *SHORTEST), "icdar2015": ("all",)}
SHOWN = 3


def icdar(
    kind: str, folder: Path, ground_truth: Path, subset: str, names: Path | None, check: bool
) -> LineList:
    """The source of a year's word images.

    Args:
        kind: "icdar2013" or "icdar2015".
        folder: of the images.
        ground_truth: the file with their words.
        subset: one of the year's `SUBSETS`.
        names: a file with the name of an image on every line; the others are left out. None for
            all of them.
        check: decode every image.

    Raises:
        DataError: one of the files is missing, or a name has no line in the ground truth.

    """
    require_file(ground_truth, 'a line like `word_1.png, "Tiredness"` for every image')
    wanted = None if names is None else _read_names(names)
    job = {"kind": kind, "subset": subset, "list": names and fingerprint(names)}
    parse = partial(_parse_wanted, subset=subset, wanted=wanted)
    source = LineList(job, [ground_truth], parse, folder, check)
    if wanted is not None:
        entries = [e for task in source.tasks(0) for e in parse_lines(task, parse_icdar_line)]
        unknown = sorted(wanted - {e.path for e in entries if isinstance(e, AnnotatedImage)})
        if unknown:
            raise DataError(
                f"{len(unknown):,} names of {names} have no line in {ground_truth}, for example "
                f"{', '.join(unknown[:SHOWN])}. Is it the list of another set?"
            )
    return source


def parse_icdar_line(line: str) -> AnnotatedImage:
    """Path and word of a line.

    Raises:
        BadLineError: not of that form.

    """
    found = _LINE.fullmatch(line.strip())
    if not found:
        raise BadLineError(f'not like `word_1.png, "Tiredness"`: {line[:60]!r}')
    return AnnotatedImage(found[1].rstrip(), _ESCAPED.sub(r"\1", found[2]))


def _parse_wanted(
    line: str, subset: str, wanted: frozenset[str] | None
) -> AnnotatedImage | Dropped:
    entry = parse_icdar_line(line)
    example = f"{entry.path}: {entry.label!r}"
    if wanted is not None and entry.path not in wanted:
        return Dropped("not in the list", example)
    if subset in SHORTEST:
        if not _LETTERS_AND_DIGITS.fullmatch(entry.label):
            return Dropped(f"not in the {subset}: other than letters and digits", example)
        if len(entry.label) < SHORTEST[subset]:
            return Dropped(f"not in the {subset}: shorter than 3 characters", example)
    return entry


def _read_names(file: Path) -> frozenset[str]:
    text = require_file(file, "the name of an image on every line").read_bytes()
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start}.") from None
    return frozenset(line.strip() for line in lines if line.strip())
