"""A word cut out of a photo, and where the photo's points are in it.

Coordinates are those of pixels' edges: the first pixel of an image reaches from 0 to 1.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from converters.lost_word import LostWordError
from records.char_boxes import FARTHEST

SMALLEST = 2  # pixels a side
# A rectified word has about the size that it has in the photo, of which it may leave a part.
LARGEST = 2  # diagonals of the photo


@dataclass(frozen=True)
class Crop:
    """A word's image.

    Attributes:
        pixels: uint8 [H, W, 3].
        transform: float64 [3, 3], from the photo's homogeneous coordinates to the crop's.

    """

    pixels: np.ndarray
    transform: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        """Where points of the photo, [..., 2], are in the crop."""
        moved = points @ self.transform[:, :2].T + self.transform[:, 2]
        return moved[..., :2] / moved[..., 2:]


def crop_hull(photo: np.ndarray, quad: np.ndarray) -> Crop:
    """The upright rectangle around a quad, as far as it is in the photo.

    Args:
        photo: uint8 [H, W, 3].
        quad: float64 [4, 2], corners.

    Raises:
        LostWordError: that is no place in the photo, or next to nothing.

    """
    left, top, right, bottom = _clipped_hull(photo, quad)
    transform = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    return Crop(photo[top:bottom, left:right], transform)


def rectify(photo: np.ndarray, quad: np.ndarray) -> Crop:
    """A quad, warped to an upright rectangle: as wide as its top and bottom edges are long on
    average, and as high as its sides.

    Args:
        photo: uint8 [H, W, 3].
        quad: float64 [4, 2], corners clockwise from the word's top left.

    Raises:
        LostWordError: as `crop_hull`, or the quad is not convex and clockwise.

    """
    _clipped_hull(photo, quad)
    edges = np.roll(quad, -1, axis=0) - quad  # top, right, bottom, left
    following = np.roll(edges, -1, axis=0)
    if (edges[:, 0] * following[:, 1] <= edges[:, 1] * following[:, 0]).any():
        raise LostWordError("word box is not convex and clockwise", _shown(quad))
    lengths = np.hypot(*edges.T)
    width = round((lengths[0] + lengths[2]) / 2)
    height = round((lengths[1] + lengths[3]) / 2)
    _require_size(width, height)
    if max(width, height) > LARGEST * np.hypot(*photo.shape[:2]):
        raise LostWordError("word box is far larger than its image", _shown(quad))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    transform = cv2.getPerspectiveTransform(quad.astype(np.float32), corners)
    # OpenCV's coordinates are those of pixels' centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    pixels = cv2.warpPerspective(
        photo,
        np.linalg.inv(half) @ transform @ half,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return Crop(pixels, transform)


def _clipped_hull(photo: np.ndarray, quad: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the photo has of a quad."""
    if not np.isfinite(quad).all():
        raise LostWordError("word box is not finite", _shown(quad))
    if np.abs(quad).max() > FARTHEST:
        raise LostWordError("word box is too far from its image", _shown(quad))
    size = photo.shape[1::-1]
    low, high = quad.min(0), quad.max(0)
    if (high <= 0).any() or (low >= size).any():
        raise LostWordError("word is outside of its image", _shown(quad))
    left, top = np.floor(low).astype(int).clip(0, size).tolist()
    right, bottom = np.ceil(high).astype(int).clip(0, size).tolist()
    _require_size(right - left, bottom - top)
    return left, top, right, bottom


def _require_size(width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise LostWordError("word is too small", f"{width} x {height} pixels")


def _shown(quad: np.ndarray) -> str:
    return " ".join(f"({x:.0f}, {y:.0f})" for x, y in quad)
