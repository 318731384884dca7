"""Word images with a list in one of the forms that SVTP and CUTE80 are passed on in.

T. Q. Phan et al., Recognizing Text with Perspective Distortion in Natural Scenes, ICCV 2013;
A. Risnumawan et al., A Robust Arbitrary Text Detection System for Natural Scene Images, 2014.
"""

import re
from pathlib import Path

from converters.annotation_file import require_file
from converters.copying import AnnotatedImage
from converters.icdar import parse_icdar_line
from converters.line_files import LineList
from records.labelled_folder import BadLineError, split_line

_TWICE = re.compile(r"(\S+) [01] (\S+)")
LIST_NAMES = ("gt.txt", "test_label.txt")


def word_list(kind: str, folder: Path, file: Path, check: bool) -> LineList:
    """The source of a list's images.

    Args:
        kind: "svtp" or "cute80".
        folder: where the images' paths start.
        file: the list.
        check: decode every image.

    Raises:
        DataError: no such list.

    """
    require_file(file, "path and label of an image on every line")
    return LineList({"kind": kind}, [file], parse_list_line, folder, check)


def parse_list_line(line: str) -> AnnotatedImage:
    """Path and label of a line.

    They have between them a tab (what follows another, as a lexicon, is passed over), a comma, the
    label being in quotation marks then, or the first space. MMOCR's lists have the label twice, in
    the same case or another, with 0 or 1 between (`timage/1.jpg RONALDO 1 RONALDO`).

    Raises:
        BadLineError: one of them is missing.

    """
    if "\t" not in line:
        try:
            return parse_icdar_line(line)
        except BadLineError:
            pass  # not quoted
    path, label = split_line(line)
    twice = _TWICE.fullmatch(label)
    if twice and twice[1].casefold() == twice[2].casefold():
        return AnnotatedImage(path, twice[1])
    return AnnotatedImage(path, label.split("\t")[0])
