"""Folders of labelled word images, and when a reading of one is right."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reading import UnreadableImageError, open_image
from records.labelled_folder import read_ground_truth
from records.lmdb_file import DataError
from text import Charset

_NORMALIZE = Charset.load("36").normalize


def labelled_images(folder: Path) -> list[tuple[Path, str]]:
    """Files and labels of a folder's gt.txt, but for labels without a letter or digit.

    Those would be right wherever nothing was read.

    Raises:
        DataError: no gt.txt, or none of its lines has both.

    """
    truth = read_ground_truth(folder / "gt.txt")
    for number, problem in truth.bad_lines:
        print(f"left out: {folder}/gt.txt line {number}: {problem}", file=sys.stderr)
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


def readable(sets: Mapping[str, Sequence[tuple[Path, str]]]) -> dict[str, list[tuple[Path, str]]]:
    """The sets without images that can't be decoded, which are told.

    Raises:
        DataError: none of them can.

    """
    kept: dict[str, list[tuple[Path, str]]] = {}
    for name, images in sets.items():
        kept[name] = []
        for file, label in images:
            try:
                open_image(file)
            except (UnreadableImageError, OSError) as error:
                print(f"unreadable, left out: {error}", file=sys.stderr)
            else:
                kept[name].append((file, label))
    if not any(kept.values()):
        raise DataError("none of the images can be read.")
    return {name: images for name, images in kept.items() if images}


def is_right(text: str, label: str) -> bool:
    """Whether both are the same in letters and digits, without case."""
    return _NORMALIZE(text).text == _NORMALIZE(label).text
