"""SynthText: 860,000 rendered scenes with boxes of their words and characters.

A. Gupta et al., Synthetic Data for Text Localisation in Natural Images, CVPR 2016. `gt.mat` has,
with a cell for each image, `imnames` (path), `wordBB` and `charBB` ([2, 4, N], corners clockwise
from the top left) and `txt` (strings of words).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from console.progress import RunLog
from converters.annotation_file import fingerprint
from converters.columns import QuadColumn, TextColumn
from converters.lost_word import printable
from converters.matlab import MatlabFile
from converters.scenes import Cutting, Scene, SceneWord, convert_scene
from converters.source import Dropped, Word
from records.lmdb_file import DataError

IMAGES_PER_TASK = 8
VARIABLES = {
    "imnames": TextColumn,
    "txt": TextColumn,
    "wordBB": QuadColumn,
    "charBB": QuadColumn,
}
WORDS_DISAGREE = "words and word boxes disagree"
OTHERS = "other than letters and digits"
CHARACTERS_DISAGREE = "characters and character boxes disagree"


@dataclass(frozen=True)
class AnnotatedScene:
    """An image's part of `gt.mat`.

    Attributes:
        path: of the image file.
        text: all words, with white space between them.
        words: float32 [W, 4, 2].
        characters: float32 [C, 4, 2], of all words in order.

    """

    path: str
    text: str
    words: np.ndarray
    characters: np.ndarray


class SynthText:
    """The `Source` of its words and their characters' boxes.

    `gt.mat` is read variable by variable and kept as a few large arrays; a task has only its own
    images' part.

    Args:
        ground_truth: `gt.mat`.
        cutting: how words are cut out.
        log: says what is being read, which takes a while.
        letters_and_digits: leave out words with any other character.

    Raises:
        DataError: no such file, or another one.

    """

    def __init__(
        self, ground_truth: Path, cutting: Cutting, log: RunLog, letters_and_digits: bool = False
    ):
        file = MatlabFile(ground_truth, tuple(VARIABLES))
        self.job = {
            "kind": "synthtext",
            "input": str(cutting.folder),
            "gt": fingerprint(ground_truth),
            "quality": cutting.quality,
            "rectify": cutting.upright,
            "letters_and_digits": letters_and_digits,
        }
        self.convert = partial(
            _convert_images, cutting=cutting, letters_and_digits=letters_and_digits
        )
        self._columns = []
        for name, column in VARIABLES.items():
            log(f"reading {name} of {ground_truth}")
            self._columns.append(column(file.cells(name)))
        lengths = {name: len(c) for name, c in zip(VARIABLES, self._columns, strict=True)}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise DataError(
                f"The variables of {ground_truth} are of different lengths: {shown}. "
                "It is damaged; copy or unpack it again."
            )
        self._images = lengths["imnames"]

    def __len__(self) -> int:
        return -(-self._images // IMAGES_PER_TASK)

    def tasks(self, start: int) -> Iterator[tuple[AnnotatedScene, ...]]:
        """Some images each, from task `start` on."""
        for first in range(start * IMAGES_PER_TASK, self._images, IMAGES_PER_TASK):
            numbers = range(first, min(first + IMAGES_PER_TASK, self._images))
            yield tuple(AnnotatedScene(*(c[n] for c in self._columns)) for n in numbers)


def _convert_images(
    images: Sequence[AnnotatedScene], cutting: Cutting, letters_and_digits: bool
) -> list[Word | Dropped]:
    scenes = (_scene(image, letters_and_digits) for image in images)
    return [word for scene in scenes for word in convert_scene(scene, cutting)]


def _scene(image: AnnotatedScene, letters_and_digits: bool) -> Scene:
    """An image with the words of its text, and of its characters those that are theirs."""
    labels, path = image.text.split(), printable(image.path)
    if len(labels) != len(image.words):
        example = f"{path}: {len(labels)} words, {len(image.words)} boxes"
        lost = Dropped(WORDS_DISAGREE, example)
        return Scene(image.path, [lost] * max(len(labels), len(image.words)))
    ends = list(accumulate(map(len, labels), initial=0))
    remark = None
    if ends[-1] != len(image.characters):
        example = f"{path}: {ends[-1]} characters, {len(image.characters)} boxes"
        remark = (CHARACTERS_DISAGREE, example)
    words = []
    for label, quad, (first, end) in zip(labels, image.words, pairwise(ends), strict=True):
        if letters_and_digits and not (label.isascii() and label.isalnum()):
            words.append(Dropped(OTHERS, f"{path}: {label!r}"))
            continue
        characters = None if remark else image.characters[first:end]
        words.append(SceneWord(label, quad, characters, remark))
    return Scene(image.path, words)
