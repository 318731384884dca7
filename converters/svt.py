"""Street View Text: photos, and the words in them.

K. Wang et al., End-to-End Scene Text Recognition, ICCV 2011. `train.xml` and `test.xml` have a
`taggedRectangle` with x, y, width and height for each word of an image.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from converters.annotation_file import fingerprint, require_file
from converters.scenes import Cutting, Scene, SceneWord, convert_scene
from converters.source import Dropped
from records.lmdb_file import DataError

SIDES = ("x", "y", "width", "height")


class StreetViewText:
    """The `Source` of its words; a task is a photo.

    Args:
        split: "train" or "test".
        cutting: how words are cut out; its folder has the XML files, and `img/`.

    Raises:
        DataError: no XML file, a damaged one, or one of another set.

    """

    def __init__(self, split: str, cutting: Cutting):
        file = require_file(cutting.folder / f"{split}.xml", "the words of every photo")
        self.job = {
            "kind": "svt",
            "input": str(cutting.folder),
            "files": [fingerprint(file)],
            "quality": cutting.quality,
        }
        self.convert = partial(convert_scene, cutting=cutting)
        self._scenes = [_read_scene(image) for image in _read_images(file)]

    def __len__(self) -> int:
        return len(self._scenes)

    def tasks(self, start: int) -> Iterator[Scene]:
        """A photo each, from task `start` on."""
        yield from self._scenes[start:]


def _read_images(file: Path) -> list[ElementTree.Element]:
    try:
        root = ElementTree.parse(file).getroot()
    # ValueError and LookupError: an encoding that Python does not know
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{file} is damaged: it is not XML ({error}). Copy it again.") from None
    images = root.findall("image")
    if not images:
        raise DataError(
            f"{file} has no image in its <{root.tag[:40]}>; is it the file of another set?"
        )
    return images


def _read_scene(image: ElementTree.Element) -> Scene:
    path = (image.findtext("imageName") or "").strip()
    rectangles = image.iterfind("taggedRectangles/taggedRectangle")
    return Scene(path, [_read_word(rectangle, path) for rectangle in rectangles])


def _read_word(rectangle: ElementTree.Element, path: str) -> SceneWord | Dropped:
    label = rectangle.findtext("tag") or ""
    try:
        x, y, width, height = (float(rectangle.get(side, "")) for side in SIDES)
    except ValueError:
        return Dropped("rectangle is not four numbers", f"{path}: {label!r} {rectangle.attrib}")
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    return SceneWord(label, np.array(corners))
