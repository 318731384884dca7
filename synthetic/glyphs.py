"""Glyph masks and advances, rasterised once and kept."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthetic.fonts import Face

# Rasterising costs most of the time until the glyphs are kept. So there is one size, near that of
# the largest images, and the way into the image scales it down.
SIZE = 80  # pixels an em
OPEN_FACES = 96  # each holds its file open, and some systems allow 256
KEPT_GLYPHS = 25_000  # some 75 MB


@dataclass(frozen=True)
class Glyph:
    """A character's ink.

    Attributes:
        mask: uint8 [h, w], coverage 0-255, cropped to the ink.
        left: x of the mask's left edge from the pen position, in pixels.
        top: y of its upper edge from the baseline, negative above it.
        advance: How far the pen moves on.
    """

    mask: np.ndarray
    left: int
    top: int
    advance: float


class GlyphCache:
    """Glyphs by face and character, the least recently used thrown out.

    A pure function of its arguments: what is kept changes the speed only. Copies sent to another
    process start empty.
    """

    def __init__(self):
        self._glyphs: OrderedDict[tuple, Glyph] = OrderedDict()
        self._faces: OrderedDict[tuple, ImageFont.FreeTypeFont] = OrderedDict()

    def __reduce__(self):
        return (GlyphCache, ())

    def get(self, face: Face, char: str) -> Glyph:
        """The glyph of `char`, at SIZE pixels an em."""
        key = (face.path, face.index, char)
        glyph = self._glyphs.get(key)
        if glyph is None:
            glyph = self._glyphs[key] = _rasterise(self._open(face), char)
            if len(self._glyphs) > KEPT_GLYPHS:
                self._glyphs.popitem(last=False)
        else:
            self._glyphs.move_to_end(key)
        return glyph

    def _open(self, face: Face) -> ImageFont.FreeTypeFont:
        key = (face.path, face.index)
        if key not in self._faces:
            self._faces[key] = face.open(SIZE)
            if len(self._faces) > OPEN_FACES:
                self._faces.popitem(last=False)
        self._faces.move_to_end(key)
        return self._faces[key]


def _rasterise(font: ImageFont.FreeTypeFont, char: str) -> Glyph:
    # A canvas that holds any glyph costs less than asking for the glyph's box first.
    x, y = SIZE // 2, 3 * SIZE // 2
    canvas = Image.new("L", (5 * SIZE // 2, 5 * SIZE // 2))
    ImageDraw.Draw(canvas).text((x, y), char, fill=255, font=font, anchor="ls")
    box = canvas.getbbox() or (x, y, x + 1, y + 1)
    mask = np.asarray(canvas.crop(box))
    return Glyph(mask, box[0] - x, box[1] - y, font.getlength(char))
