"""Word images, each a pure function of (seed, index)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from synthetic.camera import Camera
from synthetic.fonts import Face, NoFontsError, find_faces
from synthetic.glyphs import SIZE, GlyphCache
from synthetic.layout import FlatText, Placed, Typesetter, add_plate, flatten
from synthetic.levels import LEVELS, Look
from synthetic.paint import measure_strokes, paint
from synthetic.pose import draw_pose
from synthetic.words import EasyWords, VocabularyWords

SEEN_ASIDE = 3  # characters of the words before and behind; the crop shows no more of them
FAINT = 0.65  # strength of strokes below which they are drawn stronger


class Words(Protocol):
    """Where words come from.

    Attributes:
        known: The words that are drawn from, whatever else is made up.
    """

    known: Sequence[str]

    def draw(self, rng: np.random.Generator) -> str:
        """One word of characters that every face has."""


@dataclass(frozen=True)
class RenderedWord:
    """A sample.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        text: What it says.
        boxes: (character, x0, y0, x1, y1) for each character of the text, in order: the upright
            hull of its ink, in pixels; pixel (column 3, row 5) covers x 3 to 4 and y 5 to 6.
    """

    image: np.ndarray
    text: str
    boxes: list[tuple[str, float, float, float, float]]


class Renderer:
    """An endless stream of word images.

    It may be pickled and sent to workers; whoever computes sample i gets the same bytes, as long
    as words, fonts and the versions of Pillow and OpenCV are the same.

    Args:
        level: "easy" or "normal": the look, and the words where none are given.
        words: Source of the words; None for the level's own.
        fonts: Faces to write in; None for all that this machine has.
        seed: 0 or greater.
        look: Shares and ranges of the distortions, in place of the level's own.
    """

    def __init__(
        self,
        level: str = "easy",
        words: Words | None = None,
        fonts: Sequence[Face] | None = None,
        seed: int = 0,
        look: Look | None = None,
    ):
        if level not in LEVELS:
            raise ValueError(f"There is no level {level!r}: choose one of {', '.join(LEVELS)}.")
        if seed < 0:
            raise ValueError(f"The seed is {seed}: give 0 or a greater number.")
        self.level, self.seed = level, seed
        self.look = look or LEVELS[level]
        self.words = words or (EasyWords() if level == "easy" else VocabularyWords())
        self.families = _families(find_faces() if fonts is None else fonts, self.look)
        self._glyphs = GlyphCache()

    def digest(self) -> str:
        """What decides on the images, in 12 characters: look, words, seed, and the font files."""
        faces = [
            (face.family, face.style, Path(face.path).stat().st_size)
            for family in self.families
            for face in family
        ]
        content = repr((self.look, self.seed, str(self.words), list(self.words.known), faces))
        return hashlib.sha256(content.encode("utf-8")).hexdigest()[:12]

    def sample(self, index: int) -> RenderedWord:
        """Sample `index` (0 or greater) of the stream."""
        rng = np.random.default_rng((self.seed, index))
        family = self.families[rng.integers(len(self.families))]
        face = family[rng.integers(len(family))]
        text = self.words.draw(rng)
        if face.caps_only:
            # Letter by letter, as a few capitals are two letters.
            text = "".join(c.upper() if len(c.upper()) == 1 else c for c in text)

        flat, height = self._set(rng, face, text)
        pose = draw_pose(rng, self.look, flat.boxes, height)
        ink, *sign = pose.view(*add_plate(rng, self.look, flat))
        boxes = pose.boxes(flat.boxes)
        glyph = sorted(boxes[:, 3] - boxes[:, 1])[len(boxes) // 2]
        stroke, strength = measure_strokes(ink)
        if strength < FAINT:  # hairlines of less than a pixel
            ink = np.minimum(ink * np.float32(FAINT / strength), 1)
        camera = Camera.draw(rng, self.look, stroke, glyph)
        scene = paint(rng, self.look, camera, ink, sign, stroke, glyph)
        named = [(char, *box) for char, box in zip(text, boxes.tolist(), strict=True)]
        return RenderedWord(camera.take(rng, scene), text, named)

    def _set(self, rng: np.random.Generator, face: Face, text: str) -> tuple[FlatText, int]:
        """The flat text, and the height that the image is to have, in pixels."""
        look = self.look
        median, least, greatest = look.height
        height = median * np.exp(look.height_spread * rng.standard_normal())
        height = round(min(greatest, max(least, height)))
        tracking = rng.uniform(-0.03, 0.25) if rng.random() < look.spaced else 0.0
        setter = Typesetter(self._glyphs, face, tracking)
        around = []
        if rng.random() < look.neighbours:
            around = self._neighbours(rng, setter, text)
        return flatten(setter.line(text), around), height

    def _neighbours(self, rng: np.random.Generator, setter: Typesetter, text: str) -> list[Placed]:
        """Words before, behind, above or below, at the distances of ordinary print."""
        placed = []
        width = setter.width(text)
        for side in ("before", "behind", "above", "below"):
            if rng.random() < 0.5:
                continue
            other = self.words.draw(rng)
            if side == "before":
                other = other[-SEEN_ASIDE:]
                x = -setter.width(other) - SIZE * rng.uniform(0.3, 0.5)
                placed += setter.line(other, x)
            elif side == "behind":
                x = width + SIZE * rng.uniform(0.3, 0.5)
                placed += setter.line(other[:SEEN_ASIDE], x)
            else:
                gap = round(SIZE * rng.uniform(1.15, 1.5))
                x = (width - setter.width(other)) * rng.random()
                placed += setter.line(other, x, -gap if side == "above" else gap)
        return placed


def _families(faces: Sequence[Face], look: Look) -> list[list[Face]]:
    """The faces a look uses, by family: a family counts once, however many styles it has."""
    families: dict[str, list[Face]] = {}
    for face in faces:
        if look.plain and (face.italic or face.narrow or face.caps_only):
            continue
        if look.weights[0] <= face.weight <= look.weights[1]:
            families.setdefault(face.family, []).append(face)
    if not families:
        raise NoFontsError(
            f"None of the {len(faces)} font faces has a weight of {look.weights[0]} to "
            f"{look.weights[1]}{' and is plain' if look.plain else ''}. "
            "Cure: pip install -r requirements.txt, or name a folder with more fonts."
        )
    return list(families.values())
