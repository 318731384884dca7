"""Group "warp": smooth bends. Ends and edges move inwards only, so no text is cut."""

import math

import cv2
import numpy as np

from .moves import CoordinateMap, pixel_axes
from .operation import Geometric
from .thin_plate import thin_plate_map

CURVE_RADIUS = ((1.1, 1.2), (0.95, 1.05), (0.8, 0.9))  # outer, in image widths
CURVE_THICKNESS = (0.4, 0.5)  # of the ring, in image widths; the image is half as thick
JITTER = (0.2, 0.3, 0.4)  # of a third of the width, of half the height

# Control points, (x, y) in image sides: at the ends and near the thirds of both edges.
EDGE_POINTS = np.array([(x, y) for y in (0, 1) for x in (0, 0.33, 0.66, 1)])  # (8, 2)
# How far each may move, as a share of the jitter: ends and edges inwards only.
LOWEST = np.array([(low, y) for y in (0, -1) for low in (0, -1, -1, -1)])
HIGHEST = np.array([(high, y) for y in (1, 0) for high in (1, 1, 1, 0)])
REACH = np.array((0.33, 0.5))

# Stretch has two more points, in the middle of the left and right ends. Each belongs to one of
# four lines, which move as a whole.
STRETCH_POINTS = np.concatenate((EDGE_POINTS, ((0, 0.5), (1, 0.5))))  # (10, 2)
STRETCH_LINE = np.array((0, 1, 2, 3, 0, 1, 2, 3, 0, 3))
SIDEWAYS = np.array((1, 0))


def curve(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Bend the image onto a ring sector: an arch, or with equal chance a bowl."""
    radius = rng.uniform(*CURVE_RADIUS[magnitude])
    thickness = rng.uniform(*CURVE_THICKNESS)
    bowl = rng.random() < 0.5
    x, y = pixel_axes(height, width)
    # Width 1 and height 1/2; the ring's centre lies at (1/2, radius), below the image.
    right = (x + np.float32(0.5)) / width - np.float32(0.5)
    up = np.float32(radius) - (y + np.float32(0.5)) / (2 * height)
    distance = cv2.sqrt(right**2 + up**2)
    angle = np.arctan2(right, up)  # from straight up
    opening = 2 * math.asin(1 / (2 * radius))
    map_x = angle * np.float32(width / opening) + np.float32(width / 2 - 0.5)
    map_y = (radius - distance) * np.float32(height / thickness) - np.float32(0.5)
    if bowl:
        # Seen in a mirror on the ground, before and after, so that the text stays upright.
        map_x, map_y = map_x[::-1].copy(), height - 1 - map_y[::-1]
    return map_x, map_y


def distort(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Move four points of the upper edge and four of the lower, each its own way."""
    move = _draw_moves(magnitude, rng)
    size = (width, height)
    return thin_plate_map(EDGE_POINTS * size, (EDGE_POINTS + move) * size, height, width)


def stretch(height: int, width: int, magnitude: int, rng: np.random.Generator) -> CoordinateMap:
    """Move four vertical lines to the side, each as a whole."""
    move = _draw_moves(magnitude, rng)[STRETCH_LINE] * SIDEWAYS
    size = (width, height)
    return thin_plate_map(STRETCH_POINTS * size, (STRETCH_POINTS + move) * size, height, width)


def _draw_moves(magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """A move of each edge point, ``[8, 2]`` in image sides."""
    share = LOWEST + (HIGHEST - LOWEST) * rng.random(LOWEST.shape)
    return JITTER[magnitude] * REACH * share


WARP = (
    Geometric("Curve", "warp", curve, cv2.INTER_LINEAR),
    Geometric("Distort", "warp", distort, cv2.INTER_LINEAR),
    Geometric("Stretch", "warp", stretch, cv2.INTER_LINEAR),
)
