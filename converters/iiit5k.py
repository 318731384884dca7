"""IIIT 5K-word: 5,000 word images with boxes of their characters.

A. Mishra et al., Scene Text Recognition using Higher Order Language Priors, BMVC 2012.
`testdata.mat` has `ImgName` and `GroundTruth` of each image, `testCharBound.mat` has `ImgName`,
`chars` and `charBB` (x, y, width and height of each character); and so for `train`.
"""

from pathlib import Path

import numpy as np

from converters.annotation_file import fingerprint
from converters.copying import AnnotatedImage, ImageList
from converters.matlab import MatlabFile
from converters.named_boxes import boxes_or_remark
from converters.source import Dropped


def iiit5k(folder: Path, split: str, check: bool) -> ImageList:
    """The source of a split's images.

    Args:
        folder: with the four `.mat` files, and the images' folders.
        split: "train" or "test".
        check: decode every image.

    Raises:
        DataError: one of the files is missing, damaged, or of another set.

    """
    names = (f"{split}data", f"{split}CharBound")
    words, bounds = (MatlabFile(folder / f"{name}.mat", (name,)) for name in names)
    characters = {
        str(path): (str(chars), boxes)
        for path, chars, boxes in bounds.structs(names[1], ("ImgName", "chars", "charBB"))
    }
    entries = [
        _annotated(str(path), str(word), characters.get(str(path)))
        for path, word in words.structs(names[0], ("ImgName", "GroundTruth"))
    ]
    job = {"kind": "iiit5k", "files": [fingerprint(file.path) for file in (words, bounds)]}
    return ImageList(job, entries, folder, check)


def _annotated(
    path: str, word: str, characters: tuple[str, np.ndarray] | None
) -> AnnotatedImage | Dropped:
    """An image with the spelling and boxes of its characters, where they are the word's."""
    if characters is None:
        return AnnotatedImage(path, word, None, ("image has no character boxes", path))
    # The ground truth is for reading without regard to case; the characters are as in the image.
    spelled, corners = characters
    if spelled.casefold() != word.casefold():
        example = f"{path}: {word!r}, the characters read {spelled!r}"
        return AnnotatedImage(path, word, None, ("word and characters differ", example))
    return AnnotatedImage(path, spelled, *boxes_or_remark(_boxes(spelled, corners), spelled, path))


def _boxes(spelled: str, corners: np.ndarray) -> object:
    """[character, left, top, right, bottom] of each; what has another shape, as nothing."""
    corners = np.asarray(corners)
    if corners.dtype.kind not in "fiu" or corners.size != 4 * len(spelled):
        return []
    # MATLAB counts pixels from 1. And so do these: of the 9,678 boxes of the training images, none
    # has an x or y of 0 and many have 1, while x + width is often the image's width + 1, and never
    # more.
    boxes = corners.reshape(-1, 4).astype(np.float64) - (1, 1, 0, 0)
    return [
        [c, x, y, x + w, y + h] for c, (x, y, w, h) in zip(spelled, boxes.tolist(), strict=True)
    ]
