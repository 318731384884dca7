"""Group "blur": lens, motion and rough glass."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .motion import Trail
from .moves import Move, pixel_axes, scale_and_shift
from .operation import Operation, Photometric, to_pixels

# Mended: the reference takes magnitude 2 for "unspecified" (it compares it with the length of the
# kernel size) and draws from all three; here 2 means sigma 2.
GAUSSIAN_SIGMA = (0.5, 1.0, 2.0)
DEFOCUS_RADIUS = (2, 3, 4)
MOTION_TRAIL = (Trail(10, 3), Trail(12, 4), Trail(14, 5))
MOTION_DEGREES = (-45, 45)
GLASS_SIGMA = (0.7, 0.75, 0.8)
GLASS_ROUNDS = 2
# The first list has 12 entries, not 11: the reference rounds the end of its range up.
ZOOMS = (
    tuple(1 + step / 100 for step in range(12)),
    tuple(1 + step / 100 for step in range(16)),
    tuple(1 + step / 50 for step in range(11)),
)

TRUNCATE = -0.499  # a filter's delta that turns its rounding into cutting


def gaussian_blur(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian of a kernel that grows with the image: 9x9 at height 32."""
    side = 2 * (min(image.shape[:2]) // 2 // 4) + 1
    return cv2.GaussianBlur(image, (side, side), GAUSSIAN_SIGMA[magnitude])


def defocus_blur(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """A flat disc, as an open aperture draws a point out of focus."""
    return cv2.filter2D(image, -1, DISCS[magnitude], delta=TRUNCATE)


def _disc(radius: int) -> np.ndarray:
    offset = np.arange(-radius, radius + 1)
    inside = offset[:, None] ** 2 + offset**2 <= radius**2
    return inside.astype(np.float32) / inside.sum(dtype=np.float32)


DISCS = tuple(_disc(radius) for radius in DEFOCUS_RADIUS)


@dataclass(frozen=True)
class MotionBlur(Operation):
    """A trail that begins at the pixel itself, so the content moves, always to the left.

    Mended: the core area moves by the trail's centroid (2.0 / 2.8 / 3.6 px along the direction);
    the reference leaves every mask behind, because it knows images only.
    """

    def apply(
        self, image: np.ndarray, magnitude: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Move | None]:
        """Blur the image, which shifts it."""
        degrees = rng.uniform(*MOTION_DEGREES)
        trail = MOTION_TRAIL[magnitude]
        blurred = to_pixels(trail.blur(image.astype(np.float32), degrees))
        return blurred, scale_and_shift(*image.shape[:2], 1, *trail.displacement(degrees))


def glass_blur(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Blur, let each pixel take the value of one of its neighbours or its own twice, blur.

    Mended: offsets are -1, 0 or 1 in each axis. The reference knows -1 and 0 only and copies
    where it means to swap, because its pixels are views of one array; its content drifts by one
    pixel right and down, and its pixel loop takes half the time of its whole augmentation.
    """
    sigma = GLASS_SIGMA[magnitude]
    here = _places(*image.shape[:2])
    image = _smooth_glass(image, sigma)
    for offset in rng.integers(-1, 2, (GLASS_ROUNDS, *here.shape), dtype=np.int16):
        offset += here
        image = cv2.remap(image, offset, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return _smooth_glass(image, sigma)


@lru_cache(maxsize=64)
def _places(height: int, width: int) -> np.ndarray:
    """x and y of each pixel, int16 ``[H, W, 2]``: the fastest map that OpenCV's remap reads."""
    places = np.dstack(np.broadcast_arrays(*pixel_axes(height, width))).astype(np.int16)
    places.setflags(write=False)  # shared by all callers
    return places


def _smooth_glass(image: np.ndarray, sigma: float) -> np.ndarray:
    side = 2 * math.floor(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class ZoomBlur(Operation):
    """Mean of the image and centred zooms of it: the middle stays sharp, the ends smear.

    Mended: the core area is zoomed by the mean (by up to 3 px at the ends); the reference leaves
    every mask behind, because it knows images only.
    """

    def apply(
        self, image: np.ndarray, magnitude: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Move | None]:
        """Blur the image, which zooms it."""
        height, width = image.shape[:2]
        zooms = ZOOMS[magnitude]
        total = image.astype(np.uint16)  # 17 images of 255 fit
        for zoom in zooms:
            size = (int(width * zoom), int(height * zoom))
            larger = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            left, top = (size[0] - width) // 2, (size[1] - height) // 2
            total += larger[top : top + height, left : left + width]
        blurred = (total // (len(zooms) + 1)).astype(np.uint8)
        scale = (1 + len(zooms)) / (1 + sum(zooms))
        x, y = ((1 - scale) * (side - 1) / 2 for side in (width, height))
        return blurred, scale_and_shift(height, width, scale, x, y)


BLUR = (
    Photometric("GaussianBlur", "blur", gaussian_blur),
    Photometric("DefocusBlur", "blur", defocus_blur),
    MotionBlur("MotionBlur", "blur"),
    Photometric("GlassBlur", "blur", glass_blur),
    ZoomBlur("ZoomBlur", "blur"),
)
