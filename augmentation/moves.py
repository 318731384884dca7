"""Moves of an image's pixels, and the core area that follows them.

The image is interpolated at every move. Core areas have no values in between: they are looked up
once, at the place that the moves come to together. Rounded to the pixel at every move, they would
fall behind.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

# A core area is also drawn in white, and goes through the moves as the image does. What is less
# than a third as light then is the blur of a corner, or came from outside. (At a half, thin ones
# would fade away.)
LIGHT = 255
FAINTEST = LIGHT // 3

# x and y of the place that each pixel comes from, float32 [H, W] each, in pixels.
CoordinateMap = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Move:
    """For each pixel of an image, the place before the move that it comes from.

    Attributes:
        x, y: of the place, float32 ``[H, W]`` each, in pixels; also outside of the image.
        interpolation: OpenCV's flag.
    """

    x: np.ndarray
    y: np.ndarray
    interpolation: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """An image, uint8 ``[H, W]`` or ``[H, W, 3]``, moved; what comes from outside is black."""
        return cv2.remap(values, self.x, self.y, self.interpolation)


class MovedCoreArea:
    """A core area, uint8 ``[H, W]`` of any values, on its way through the moves of its image."""

    def __init__(self, core_area: np.ndarray):
        self._start = core_area
        self._light: np.ndarray | None = None
        self._x: np.ndarray | None = None
        self._y: np.ndarray | None = None

    def follow(self, move: Move) -> None:
        """Go along with the image."""
        if self._light is None:
            light = np.where(self._start > 0, np.uint8(LIGHT), np.uint8(0))
            self._light, self._x, self._y = move.apply(light), move.x, move.y
            return
        self._light = move.apply(self._light)
        self._x, self._y = (
            cv2.remap(axis, move.x, move.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for axis in (self._x, self._y)
        )

    def result(self) -> np.ndarray:
        """A new array where it was moved: with no new values, and 0 from outside."""
        if self._light is None:
            return self._start
        moved = cv2.remap(self._start, self._x, self._y, cv2.INTER_NEAREST)
        moved[self._light < FAINTEST] = 0
        return moved


def scale_and_shift(height: int, width: int, scale: float, x: float, y: float) -> Move:
    """To the nearest pixel; pixels come from their own places scaled, with x and y added."""
    columns, rows = (scale * axis for axis in pixel_axes(height, width))
    shape = (height, width)
    return Move(
        np.ascontiguousarray(np.broadcast_to(columns + np.float32(x), shape)),
        np.ascontiguousarray(np.broadcast_to(rows + np.float32(y), shape)),
        cv2.INTER_NEAREST,
    )


@lru_cache(maxsize=64)
def pixel_axes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates that broadcast to the image: x ``[1, W]`` and y ``[H, 1]``, float32."""
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    for axis in (x, y):
        axis.setflags(write=False)  # shared by all callers
    return x, y
