"""Folders of labelled word images, and when a reading of one is right."""

import sys
from pathlib import Path

from labelled_folder import read_ground_truth
from lmdb_file import DataError
from text import Charset

_NORMALIZE = Charset.load("36").normalize


def labelled_images(folder: Path) -> list[tuple[Path, str]]:
    """Files and labels of a folder's gt.txt, but for labels without a letter or digit.

    Those would be right wherever nothing was read.

    Raises:
        DataError: no gt.txt, or none of its lines has both.

    """
    truth = read_ground_truth(folder / "gt.txt")
    images = [(folder / path, label) for path, label in truth.entries if _NORMALIZE(label).text]
    if not images:
        raise DataError(f"{folder}/gt.txt has no line with a path and a label to compare.")
    if len(images) < len(truth.entries):
        left_out = len(truth.entries) - len(images)
        said = f"{folder}/gt.txt: {left_out} label(s) without letter or digit left out"
        print(said, file=sys.stderr)
    return images


def labelled_sets(folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """The folder's own images, or those of the folders in it that have a gt.txt; by name.

    Raises:
        DataError: neither has one, or a gt.txt without a line of path and label.

    """
    if (folder / "gt.txt").is_file():
        return {folder.name: labelled_images(folder)}
    files = sorted(folder.glob("*/gt.txt"))
    if not files:
        raise DataError(
            f"Neither {folder} nor a folder in it has a gt.txt; it has a line for each image: "
            "path, tab, label."
        )
    return {file.parent.name: labelled_images(file.parent) for file in files}


def is_right(text: str, label: str) -> bool:
    """Whether both are the same in letters and digits, without case."""
    return _NORMALIZE(text).text == _NORMALIZE(label).text
