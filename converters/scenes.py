"""Words cut out of photos of scenes, each photo being decoded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from converters.crops import Crop, crop_hull, rectify
from converters.image_files import decode_pixels, read_image_file
from converters.lost_word import LostWordError, usable_label
from converters.source import Dropped, Word
from records.char_boxes import FARTHEST, BoxEntry

# A character's centre may be beyond its word by so much of the word's shorter side.
TOLERANCE = 0.25
OUTSIDE = "character boxes are outside of their word"
CUT_OFF = "a character is outside of the photo"


@dataclass(frozen=True)
class SceneWord:
    """A word of a scene, in the photo's pixels.

    Attributes:
        label: what it says.
        quad: [4, 2], corners clockwise from the word's top left.
        characters: [len(label), 4, 2], the quads of its characters; None without.
        remark: as in `Word`.

    """

    label: str
    quad: np.ndarray
    characters: np.ndarray | None = None
    remark: tuple[str, str] | None = None


@dataclass(frozen=True)
class Scene:
    """A photo.

    Attributes:
        path: of the image file, below the source's folder, with slashes.
        words: those in it; what is dropped already is passed on.

    """

    path: str
    words: Sequence[SceneWord | Dropped]


@dataclass(frozen=True)
class Cutting:
    """How words are cut out.

    Attributes:
        folder: where the photos' paths start.
        quality: of the JPEG, 1 to 100.
        upright: warp a word's quad to an upright rectangle, rather than cut out the upright
            rectangle around it.

    """

    folder: Path
    quality: int
    upright: bool = False


def convert_scene(scene: Scene, cutting: Cutting) -> list[Word | Dropped]:
    """The records of a scene's words."""
    try:
        pixels = decode_pixels(read_image_file(cutting.folder, scene.path))
    except LostWordError as error:
        lost = error.dropped(scene.path)
        return [word if isinstance(word, Dropped) else lost for word in scene.words]
    photo = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # as OpenCV writes it
    return [
        word if isinstance(word, Dropped) else _cut_out(word, photo, scene.path, cutting)
        for word in scene.words
    ]


def _cut_out(word: SceneWord, photo: np.ndarray, path: str, cutting: Cutting) -> Word | Dropped:
    quad = np.asarray(word.quad, np.float64)
    try:
        label = usable_label(word.label)
        crop = rectify(photo, quad) if cutting.upright else crop_hull(photo, quad)
        image = _encode(crop.pixels, cutting.quality)
    except LostWordError as error:
        return error.dropped(f"{path}: {word.label}")
    if word.characters is None:
        return Word(image, label, None, word.remark)
    characters = np.asarray(word.characters, np.float64)
    example = f"{path}: {label!r}"
    if not _lie_within(characters, quad):
        return Word(image, label, None, (OUTSIDE, example))
    if _one_is_outside(characters, photo):
        return Dropped(CUT_OFF, example)
    boxes = _place_boxes(label, characters, crop)
    return Word(image, label, boxes, word.remark if boxes else (OUTSIDE, example))


def _lie_within(characters: np.ndarray, quad: np.ndarray) -> bool:
    """Whether the characters' boxes, [N, 4, 2], have their centres in the word's grown hull."""
    with np.errstate(invalid="ignore", over="ignore"):
        centres = characters.mean(axis=1)
    low, high = quad.min(0), quad.max(0)
    margin = TOLERANCE * (high - low).min()
    # A comparison with NaN is false.
    return bool(((centres >= low - margin) & (centres <= high + margin)).all())


def _one_is_outside(quads: np.ndarray, pixels: np.ndarray) -> bool:
    """Whether one of the quads, [N, 4, 2], has no part in an image, [H, W, 3]."""
    height, width = pixels.shape[:2]
    low, high = quads.min(1), quads.max(1)
    return bool(((high < 0) | (low > (width, height))).any())


def _place_boxes(label: str, characters: np.ndarray, crop: Crop) -> list[BoxEntry] | None:
    """The boxes in the crop, to a hundredth of a pixel; None where one has no part in it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        corners = crop.place(characters)
    if not (np.abs(corners) <= FARTHEST).all() or _one_is_outside(corners, crop.pixels):
        return None
    quads = corners.reshape(-1, 8).round(2).tolist()
    return [[character, *quad] for character, quad in zip(label, quads, strict=True)]


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    try:
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        height, width = pixels.shape[:2]
        raise LostWordError("word is too large for JPEG", f"{width} x {height} pixels") from None
    return encoded.tobytes()
