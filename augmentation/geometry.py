"""Group "geometry": the camera turns, stands aside or steps back."""

import math

import cv2
import numpy as np

from .moves import CoordinateMap, pixel_axes
from .operation import Geometric, random_sign
from .thin_plate import thin_plate_map

ROTATE_DEGREES = ((0, 10), (10, 20), (20, 30))
PERSPECTIVE_SHARE = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.4))  # of the height, lost at each far corner
SHRINK_SHARE = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.4))  # of a third of the width, of half the height
# Control points, (x, y) in image sides, and the direction in which each moves.
SHRINK_POINTS = np.array([(x, y) for y in (0, 1) for x in (0, 0.33, 0.66, 1)])
SHRINK_INWARDS = np.array([(x, y) for y in (1, -1) for x in (1, 0, 0, -1)])
TRANSLATE_X_SHARE = ((0, 0.03), (0.03, 0.06), (0.06, 0.09))
TRANSLATE_Y_SHARE = ((0, 0.07), (0.07, 0.14), (0.14, 0.21))


def rotate(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Turn about the centre in a squashed square, shrunk until all corners fit.

    A word image is turned as if it were square, so at 32x128 this is mostly a slant.
    """
    angle = _draw_angle(magnitude, rng)
    return _turned(height, width, angle, math.cos(angle) + abs(math.sin(angle)))


def rotate_on_canvas(
    height: int, width: int, magnitude: int, rng: np.random.Generator
) -> CoordinateMap:
    """Turn without shrinking: the corners are lost."""
    return _turned(height, width, _draw_angle(magnitude, rng), 1)


def _draw_angle(magnitude: int, rng: np.random.Generator) -> float:
    return random_sign(rng) * math.radians(rng.uniform(*ROTATE_DEGREES[magnitude]))


def _turned(height: int, width: int, angle: float, zoom: float) -> CoordinateMap:
    """Coordinate map of a turn by ``angle`` in the unit square, ``zoom`` times smaller."""
    x, y = pixel_axes(height, width)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    u, v = (x - np.float32(centre_x)) / width, (y - np.float32(centre_y)) / height
    cos, sin = np.float32(zoom * math.cos(angle)), np.float32(zoom * math.sin(angle))
    map_x = (u * cos - v * sin) * width + np.float32(centre_x)
    map_y = (u * sin + v * cos) * height + np.float32(centre_y)
    return map_x, map_y


def perspective(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Look from one side: the far end, left or right, loses height above and below."""
    upper, lower = rng.uniform(*PERSPECTIVE_SHARE[magnitude], 2) * height
    source = np.float32([(0, 0), (width, 0), (width, height), (0, height)])
    target = source.copy()
    far_above, far_below = (0, 3) if rng.random() < 0.5 else (1, 2)
    target[far_above, 1] += upper
    target[far_below, 1] -= lower
    back = cv2.getPerspectiveTransform(target, source).astype(np.float32)
    x, y = pixel_axes(height, width)
    map_x, map_y, depth = (row[0] * x + row[1] * y + row[2] for row in back)
    return map_x / depth, map_y / depth


def shrink(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Pull the edges in, the ends most, and move the rest within the room this leaves."""
    x, y = rng.uniform(*SHRINK_SHARE[magnitude], 2) * (0.33 * width, 0.5 * height)
    source = SHRINK_POINTS * (width, height)
    target = source + SHRINK_INWARDS * (x, y)
    if rng.random() < 0.5:
        shift = (round(rng.uniform(-x, x)), 0)
    else:
        shift = (0, round(rng.uniform(-y, y)))
    return thin_plate_map(source, target, height, width, shift)


def translate_x(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Move sideways by whole pixels. Can cut text, so no group has it."""
    shift = round(random_sign(rng) * rng.uniform(*TRANSLATE_X_SHARE[magnitude]) * width)
    return _shifted(height, width, shift, 0)


def translate_y(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Move up or down by whole pixels. Can cut text, so no group has it."""
    shift = round(random_sign(rng) * rng.uniform(*TRANSLATE_Y_SHARE[magnitude]) * height)
    return _shifted(height, width, 0, shift)


def _shifted(height: int, width: int, right: int, down: int) -> CoordinateMap:
    x, y = pixel_axes(height, width)
    shape = (height, width)
    return (
        np.ascontiguousarray(np.broadcast_to(x - right, shape)),
        np.ascontiguousarray(np.broadcast_to(y - down, shape)),
    )


GEOMETRY = (
    Geometric("Rotate", "geometry", rotate, cv2.INTER_CUBIC),
    Geometric("Perspective", "geometry", perspective, cv2.INTER_LINEAR),
    Geometric("Shrink", "geometry", shrink, cv2.INTER_LINEAR),
)
UNUSED = (
    Geometric("TranslateX", "geometry", translate_x, cv2.INTER_NEAREST),
    Geometric("TranslateY", "geometry", translate_y, cv2.INTER_NEAREST),
)
# After Curve the "selected" mode turns without a second shrinking.
ROTATE_ON_CANVAS = Geometric("Rotate", "geometry", rotate_on_canvas, cv2.INTER_CUBIC)
