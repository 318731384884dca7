"""Group "pattern": black lines of one pixel. The magnitude alone says where; there is no chance."""

from functools import lru_cache

import cv2
import numpy as np

from .operation import Photometric

PERIOD = (4, 3, 2)  # pixels from line to line
OUTER_ELLIPSES = 3  # more rings than rectangles, so that the corners are covered


def vertical_grid(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Black columns."""
    period = PERIOD[magnitude]
    lined = image.copy()
    lined[:, period - 1 :: period] = 0
    return lined


def horizontal_grid(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Black rows."""
    period = PERIOD[magnitude]
    lined = image.copy()
    lined[period - 1 :: period] = 0
    return lined


def grid(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Black columns and rows; magnitude 2 leaves one pixel in four."""
    return horizontal_grid(vertical_grid(image, magnitude, rng), magnitude, rng)


def rectangle_grid(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Concentric rectangles of the image's shape."""
    return cv2.bitwise_and(image, _rectangles(*image.shape[:2], PERIOD[magnitude]))


def ellipse_grid(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Concentric ellipses of the image's shape."""
    return cv2.bitwise_and(image, _ellipses(*image.shape[:2], PERIOD[magnitude]))


@lru_cache(maxsize=32)
def _rectangles(height: int, width: int, period: int) -> np.ndarray:
    """255 with rings of 0, uint8 ``[H, W, 3]``."""
    mask = np.full((height, width, 3), 255, np.uint8)
    centre = np.array((width / 2, height / 2))
    for ring in range(1, height // 2 // period + 1):
        half = _half_axes(ring, height, width, period)
        near, far = (centre - half).astype(int).tolist(), (centre + half).astype(int).tolist()
        cv2.rectangle(mask, near, far, color=(0, 0, 0))
    return mask


@lru_cache(maxsize=32)
def _ellipses(height: int, width: int, period: int) -> np.ndarray:
    """255 with rings of 0, uint8 ``[H, W, 3]``."""
    mask = np.full((height, width, 3), 255, np.uint8)
    for ring in range(1, height // 2 // period + OUTER_ELLIPSES + 1):
        half = _half_axes(ring, height, width, period).astype(int).tolist()
        cv2.ellipse(mask, (width // 2, height // 2), half, 0, 0, 360, color=(0, 0, 0))
    return mask


def _half_axes(ring: int, height: int, width: int, period: int) -> np.ndarray:
    """Half width and half height of a ring, in pixels."""
    half_height = period * ring - 1
    return np.array((half_height * width / height, half_height))


PATTERN = (
    Photometric("VGrid", "pattern", vertical_grid),
    Photometric("HGrid", "pattern", horizontal_grid),
    Photometric("Grid", "pattern", grid),
    Photometric("RectGrid", "pattern", rectangle_grid),
    Photometric("EllipseGrid", "pattern", ellipse_grid),
)
