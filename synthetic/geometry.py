"""From the flat text to the image: one exact map, forwards for boxes, backwards for pixels.

Coordinates are continuous: pixel (column 3, row 5) covers x 3 to 4 and y 5 to 6.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np

# From the index of a pixel to its centre in continuous coordinates, and back.
TO_CENTRE = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
TO_INDEX = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])


@dataclass(frozen=True)
class Arc:
    """Bends the line y = 0 into a circle of `radius` through the origin.

    A positive radius puts the centre below the text (an arch), a negative one above (a bowl).
    """

    radius: float

    def forward(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat to bent."""
        angle = u / self.radius
        return (self.radius - v) * np.sin(angle), self.radius - (self.radius - v) * np.cos(angle)

    def inverse(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bent to flat."""
        side = math.copysign(1.0, self.radius)
        across, along = side * x, side * (self.radius - y)
        return (
            self.radius * np.arctan2(across, along),
            self.radius - side * np.sqrt(across * across + along * along),
        )


@dataclass(frozen=True)
class Wave:
    """Moves every column up or down by a sine of `amplitude` and `length`, from `phase` on."""

    amplitude: float
    length: float
    phase: float

    def _shift(self, u: np.ndarray) -> np.ndarray:
        return self.amplitude * np.sin(u * (2 * np.pi / self.length) + self.phase)

    def forward(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat to bent."""
        return u, v + self._shift(u)

    def inverse(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bent to flat."""
        return x, y - self._shift(x)


@dataclass(frozen=True)
class Warp:
    """Homography `before`, then an optional bend, then homography `after`; both 3×3."""

    before: np.ndarray = field(default_factory=lambda: np.eye(3))
    bend: Arc | Wave | None = None
    after: np.ndarray = field(default_factory=lambda: np.eye(3))

    def then(self, matrix: np.ndarray) -> "Warp":
        """This warp, followed by a homography."""
        return Warp(self.before, self.bend, matrix @ self.after)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Where points [N, 2] of the flat text land, [N, 2]."""
        if self.bend is None:
            return project(self.after @ self.before, points)
        points = project(self.before, points)
        return project(self.after, np.stack(self.bend.forward(*points.T), axis=1))

    def apply(self, flat: np.ndarray, height: int, width: int) -> np.ndarray:
        """The warped image, uint8 [height, width] or [height, width, C], of a flat one alike."""
        to_flat = TO_INDEX @ inverse(self.before)
        back = inverse(self.after) @ TO_CENTRE
        if self.bend is None:
            back = to_flat @ back
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            return cv2.warpPerspective(flat, back, (width, height), flags=flags)
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        u, v = self.bend.inverse(*_project_grid(back, x, y))
        u, v = _project_grid(to_flat, u, v)
        return cv2.remap(flat, u, v, cv2.INTER_LINEAR)


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 2] through a 3×3 homography."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, :2] / moved[:, 2:]


def _project_grid(
    matrix: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same for float32 coordinates that broadcast to a grid."""
    m = matrix.astype(np.float32)
    px, py = m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
    if m[2, 0] == 0 and m[2, 1] == 0:
        return px / m[2, 2], py / m[2, 2]
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    return px / w, py / w


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverse 3×3 matrix; several times faster than NumPy's for one so small."""
    return cv2.invert(matrix)[1]


def translation(x: float, y: float) -> np.ndarray:
    """3×3 matrix that moves by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def scaling(x: float, y: float) -> np.ndarray:
    """3×3 matrix that scales about the origin."""
    return np.diag([x, y, 1.0])


def shear(amount: float) -> np.ndarray:
    """3×3 matrix that leans upright strokes by `amount` (tangent), to the right if positive."""
    return np.array([[1, -amount, 0], [0, 1, 0], [0, 0, 1.0]])


def rotation(degrees: float) -> np.ndarray:
    """3×3 matrix that turns clockwise, as seen with y downwards."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def outlines(boxes: np.ndarray, points_a_side: int) -> np.ndarray:
    """Points [N, 4 * points_a_side, 2] along the outlines of boxes [N, 4] (x0, y0, x1, y1)."""
    corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return corner + size * _unit_outline(points_a_side)


@cache
def _unit_outline(points_a_side: int) -> np.ndarray:
    steps = np.linspace(0, 1, points_a_side, endpoint=False)
    zeros, ones = np.zeros(points_a_side), np.ones(points_a_side)
    x = np.concatenate([steps, ones, 1 - steps, zeros])
    y = np.concatenate([zeros, steps, ones, 1 - steps])
    return np.stack([x, y], axis=1)
