"""A word, and parts of its neighbours, as one flat mask with a box for each of its characters."""

from dataclasses import dataclass

import cv2
import numpy as np

from synthetic.fonts import Face
from synthetic.glyphs import SIZE, Glyph, GlyphCache
from synthetic.levels import Look

Placed = tuple[Glyph, int, int]  # glyph, x and y of the mask's upper left corner


@dataclass(frozen=True)
class FlatText:
    """Straight text before any geometry.

    Attributes:
        mask: uint8 [h, w], coverage 0-255 of all ink, the neighbours' too.
        boxes: float64 [N, 4], x0, y0, x1, y1 of the word's characters, in pixels of the mask.
    """

    mask: np.ndarray
    boxes: np.ndarray


class Typesetter:
    """Sets words in one face, at SIZE pixels an em.

    Args:
        glyphs: Where glyphs come from.
        face: The face.
        tracking: Space added after each character, in em.
    """

    def __init__(self, glyphs: GlyphCache, face: Face, tracking: float):
        self.glyphs, self.face = glyphs, face
        self.tracking = tracking * SIZE

    def line(self, text: str, x: float = 0.0, y: int = 0) -> list[Placed]:
        """The glyphs of a line whose pen starts at (x, y) on the baseline."""
        placed = []
        for char in text:
            glyph = self.glyphs.get(self.face, char)
            placed.append((glyph, round(x) + glyph.left, y + glyph.top))
            x += glyph.advance + self.tracking
        return placed

    def width(self, text: str) -> float:
        """How far the pen moves over a text, in pixels."""
        advances = (self.glyphs.get(self.face, char).advance for char in text)
        return sum(advances) + self.tracking * len(text)


def flatten(word: list[Placed], around: list[Placed]) -> FlatText:
    """Draws the placed glyphs of a word and its surroundings."""
    corners = [(x, y, x + g.mask.shape[1], y + g.mask.shape[0]) for g, x, y in word + around]
    left, top = min(c[0] for c in corners) - 1, min(c[1] for c in corners) - 1
    right, bottom = max(c[2] for c in corners) + 1, max(c[3] for c in corners) + 1
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for glyph, x, y in word + around:
        height, width = glyph.mask.shape
        spot = mask[y - top : y - top + height, x - left : x - left + width]
        np.maximum(spot, glyph.mask, out=spot)
    boxes = np.array(corners[: len(word)], np.float64) - (left, top, left, top)
    return FlatText(mask, boxes)


def add_plate(
    rng: np.random.Generator, look: Look, flat: FlatText
) -> tuple[np.ndarray, tuple[float, float]]:
    """The flat text, on a sign at times.

    Returns:
        Layers uint8: [h, w], the ink alone, or [h, w, 3], ink, sign and the sign's border; and
        the position (x, y) of the text's mask in them.
    """
    if rng.random() >= look.plate:
        return flat.mask, (0.0, 0.0)
    x0, y0 = flat.boxes[:, :2].min(axis=0).astype(int)
    x1, y1 = flat.boxes[:, 2:].max(axis=0).astype(int)
    pad = y1 - y0
    ink = cv2.copyMakeBorder(flat.mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    plate, border = np.zeros_like(ink), np.zeros_like(ink)
    air = (pad * rng.uniform(0.12, 0.6, 4)).astype(int)
    corners = (x0 + pad - air[0], y0 + pad - air[1]), (x1 + pad + air[2], y1 + pad + air[3])
    cv2.rectangle(plate, *corners, 255, -1)
    if rng.random() < 0.5:
        cv2.rectangle(border, *corners, 255, max(1, round(pad * rng.uniform(0.02, 0.1))))
    return cv2.merge([ink, plate, border]), (float(pad), float(pad))
