"""How a word stands before the camera: its bend, turn and perspective, and the crop around it."""

from dataclasses import dataclass

import cv2
import numpy as np

from synthetic import geometry
from synthetic.geometry import Arc, Warp, Wave
from synthetic.levels import Look

MAX_WIDTH = 512  # of an image, in pixels
LEAST_GLYPH = 8.0  # median height of a word's characters in the image, in pixels
LEAST_PITCH = 7.0  # width of the word by its number of characters, in pixels


@dataclass(frozen=True)
class Pose:
    """A warp from the flat text into an image of the given size.

    Attributes:
        warp: Flat pixels to image pixels.
        height: The image's, in pixels.
        width: The image's, in pixels.
        scale: About how many image pixels a flat pixel becomes.
    """

    warp: Warp
    height: int
    width: int
    scale: float

    def view(self, layers: np.ndarray, at: tuple[float, float]) -> list[np.ndarray]:
        """Each layer in the image, float32 [height, width], 0 to 1.

        Args:
            layers: uint8 [h, w] or [h, w, C].
            at: Where in them the flat text's corner lies (x, y).
        """
        before = self.warp.before @ geometry.translation(-at[0], -at[1])
        scale = self.scale
        # Bilinear sampling skips pixels below a half: halve the layers first.
        while scale < 0.55:
            height, width = layers.shape[:2]
            layers = cv2.copyMakeBorder(
                layers, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=(0, 0, 0)
            )
            layers = cv2.resize(layers, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            before, scale = before @ geometry.scaling(2, 2), scale * 2
        warp = Warp(before, self.warp.bend, self.warp.after)
        seen = warp.apply(layers, self.height, self.width)
        return list(cv2.split(seen.astype(np.float32) * np.float32(1 / 255)))

    def boxes(self, flat_boxes: np.ndarray) -> np.ndarray:
        """Upright hulls [N, 4] in the image of flat boxes [N, 4], cut at its edges."""
        points = _outlines(self.warp, flat_boxes)
        hulls = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        return np.clip(hulls, 0, (self.width, self.height, self.width, self.height))


def draw_pose(rng: np.random.Generator, look: Look, boxes: np.ndarray, height: int) -> Pose:
    """A pose for a word with flat character boxes [N, 4], in an image about `height` pixels high.

    The image becomes higher where the characters would be too small to read.
    """
    x0, y0 = boxes[:, :2].min(axis=0)
    x1, y1 = boxes[:, 2:].max(axis=0)
    stretch = rng.uniform(*look.stretch)
    lean = rng.uniform(-0.15, 0.3) if rng.random() < look.slanted else 0.0
    before = geometry.shear(lean) @ geometry.scaling(stretch, 1)
    before = before @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
    warp = Warp(before, _bend(rng, look, (x1 - x0) * stretch, y1 - y0))
    # The power makes strong turns rare: half stay below a tenth of the greatest.
    turn = min(1.0, max(-1.0, rng.standard_normal() / 3))
    warp = warp.then(geometry.rotation(look.rotation * turn * abs(turn) ** 0.7))
    if rng.random() < look.perspective:
        word = np.array([[x0, y0, x1, y1]])
        warp = warp.then(_view_from_aside(rng, _outlines(warp, word)[0]))

    points = _outlines(warp, boxes)
    upper, lower = points.min(axis=1), points.max(axis=1)
    glyph = sorted(lower[:, 1] - upper[:, 1])[len(boxes) // 2]
    upper, lower = upper.min(axis=0), lower.max(axis=0)
    margins = (lower[1] - upper[1]) * rng.uniform(*look.margin, 4)
    left, top = (upper - margins[:2]).tolist()
    right, bottom = (lower + margins[2:]).tolist()
    pitch = (lower[0] - upper[0]) / len(boxes)
    scale = max(height / (bottom - top), LEAST_GLYPH / glyph, LEAST_PITCH / pitch)
    scale = float(min(scale, MAX_WIDTH / (right - left)))
    rows, columns = max(8, round(scale * (bottom - top))), max(8, round(scale * (right - left)))
    fit = geometry.scaling(columns / (right - left), rows / (bottom - top))
    return Pose(warp.then(fit @ geometry.translation(-left, -top)), rows, columns, scale)


def _outlines(warp: Warp, boxes: np.ndarray) -> np.ndarray:
    """Warped outlines [N, P, 2] of flat boxes [N, 4]; corners do unless a bend curves the sides."""
    points = geometry.outlines(boxes, 1 if warp.bend is None else 8)
    return warp.forward(points.reshape(-1, 2)).reshape(points.shape)


def _bend(rng: np.random.Generator, look: Look, width: float, height: float) -> Arc | Wave | None:
    """The curve of the baseline for a word of that size, None for a straight one."""
    if rng.random() >= look.curved or width < 1.8 * height:
        return None
    if rng.random() < 0.75:
        # A letter at the inner side keeps its width only while the circle is wide.
        angle = rng.uniform(0.35, min(2.4, width / (1.3 * height)))
        return Arc(float(width / angle * (1 if rng.random() < 0.65 else -1)))
    length = width * rng.uniform(0.8, 2.0)
    amplitude = min(height * rng.uniform(0.1, 0.35), 0.06 * length)
    return Wave(float(amplitude), float(length), float(2 * np.pi * rng.random()))


def _view_from_aside(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """A 3×3 homography as a tilted camera gives it, for a word with outline `points` [P, 2]."""
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    height = bottom - top
    moved = corners + (height * rng.uniform(-0.06, 0.06, (4, 2))).astype(np.float32)
    # One side is farther away: lower there, and the whole word shorter.
    near_to_far = rng.uniform(0.0, 0.35)
    far = [1, 2] if rng.random() < 0.5 else [0, 3]
    share = rng.random()
    moved[far[0], 1] += height * near_to_far * share
    moved[far[1], 1] -= height * near_to_far * (1 - share)
    moved[:, 0] *= 1 - near_to_far * rng.random()
    return cv2.getPerspectiveTransform(corners, moved)
