"""Thin-plate splines: the smoothest map that takes some points exactly where they must go."""

import cv2
import numpy as np

from .moves import pixel_axes

TINY = np.float32(1e-12)  # keeps the logarithm finite at a control point, where its factor is 0


def thin_plate_map(
    source: np.ndarray,
    target: np.ndarray,
    height: int,
    width: int,
    shift: tuple[int, int] = (0, 0),
) -> tuple[np.ndarray, np.ndarray]:
    """The coordinate map of a warp that moves ``source`` points to ``target`` points.

    Args:
        source: float ``[N, 2]``, x and y in pixels.
        target: float ``[N, 2]``, no two alike and not all on one line.
        height: of the map.
        width: of the map.
        shift: whole pixels x, y by which the warped image is moved afterwards.

    Returns:
        For each output pixel the x and the y it comes from, float32 ``[height, width]`` each.
    """
    # A remap asks where an output pixel comes from, so the spline runs from target to source.
    # Lengths in image sides: the spline is the same at every scale, the equations are rounder.
    side = max(height, width)
    knots = target / side
    count = len(knots)
    offset = knots[:, None] - knots
    affine = np.column_stack((np.ones(count), knots))
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _basis((offset**2).sum(axis=2))
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    wanted = np.zeros((count + 3, 2))
    wanted[:count] = source
    weights = np.linalg.solve(system, wanted).astype(np.float32).T  # (2, N + 3)

    x, y = pixel_axes(height, width)
    x, y = (x - np.float32(shift[0])) / side, (y - np.float32(shift[1])) / side
    knots = knots.astype(np.float32)
    squared = (x - knots[:, 0, None, None]) ** 2 + (y - knots[:, 1, None, None]) ** 2  # (N, H, W)
    bent = weights[:, :count] @ _basis(squared.reshape(count, -1))  # (2, H * W)
    map_x, map_y = bent.reshape(2, height, width)
    for part, (constant, by_x, by_y) in zip((map_x, map_y), weights[:, count:], strict=True):
        part += constant + by_x * x + by_y * y
    return map_x, map_y


def _basis(squared: np.ndarray) -> np.ndarray:
    """r^2 log r^2 of squared distances ``[A, B]``; the factor 2 goes into the weights."""
    return squared * cv2.log(squared + TINY)
