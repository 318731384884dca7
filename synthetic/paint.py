"""From coverage masks to a coloured scene. Scenes are float32 [3, H, W], RGB, 0 to 1.

(Channels first: NumPy then works on long rows, several times faster than on triples.)
"""

import cv2
import numpy as np

from synthetic import background
from synthetic.camera import Camera
from synthetic.colours import colour, from_quantiles, luma, text_lightness
from synthetic.levels import Look


def measure_strokes(text: np.ndarray) -> tuple[float, float]:
    """Mean width in pixels, and strength (0 to 1), of a mask's strokes, float32 [H, W], 0 to 1.

    The width is twice the ink over the length of its outline, which the gradient sums up to. The
    strength is the mean of the ink over the ink: near 1 where strokes are wider than a pixel.
    """
    ink = max(cv2.sumElems(text)[0], 1e-3)
    edges = cv2.norm(text[1:], text[:-1], cv2.NORM_L1)
    edges += cv2.norm(text[:, 1:], text[:, :-1], cv2.NORM_L1)
    return 2 * ink / max(edges, 1e-3), cv2.norm(text, cv2.NORM_L2SQR) / ink


def paint(
    rng: np.random.Generator,
    look: Look,
    camera: Camera,
    text: np.ndarray,
    sign: list[np.ndarray],
    stroke: float,
    glyph: float,
) -> np.ndarray:
    """The scene that the camera sees.

    Args:
        rng: Source of the draws.
        look: The level.
        camera: It decides how much the text must stand out.
        text: Ink of the word and its neighbours, float32 [H, W], 0 to 1.
        sign: What the text stands on and its border, alike; empty for no sign.
        stroke: Width of its strokes, pixels.
        glyph: Height of its characters, pixels.
    """
    scene, behind, unrest = _background(rng, look, *text.shape)
    if sign:
        board = colour(rng, from_quantiles(rng, 0.1, 0.5, 0.9), 0.6)
        scene = _cover(scene, board, sign[0])
        behind, unrest = luma(board), 0.0

    needed = camera.contrast_needed(stroke, behind, unrest)
    if needed > max(behind, 1 - behind):  # more than black or white gives: calm the background
        average = np.array(cv2.mean(cv2.merge(list(scene)))[:3], np.float32)
        scene = _cover(scene, average, np.full_like(text, 0.75))
        needed = camera.contrast_needed(stroke, behind, 0.25 * unrest)
    contrast = max(from_quantiles(rng, *look.contrast), needed)
    front = text_lightness(rng, behind, contrast)
    ink = colour(rng, front, 0.35)
    if sign:
        scene = _cover(scene, ink, sign[1])
    # On hairlines a shadow or a contour would hide more than it shows.
    if rng.random() < look.shadowed and stroke > 1.5:
        scene = _shadow(rng, scene, text, glyph, front)
    if rng.random() < look.outlined and stroke > 1.5:
        scene = _contour(rng, scene, text, glyph, front)
    scene = _cover(scene, ink, text)
    if rng.random() < look.occluded:
        scene = _occlude(rng, scene, glyph, behind)
    if rng.random() < look.shaded:
        scene = _shade(rng, scene)
    return scene


def _background(
    rng: np.random.Generator, look: Look, height: int, width: int
) -> tuple[np.ndarray, float, float]:
    """A scene without text, its mean lightness, and the range of its lightness."""
    behind = from_quantiles(rng, 0.12, 0.45, 0.85)
    if rng.random() < look.structured:
        field = background.structured_field(rng, height, width)
        reach = rng.uniform(0.05, 0.4)
    else:
        field = background.smooth_field(rng, height, width)
        reach = rng.uniform(0.0, 0.25)
    if rng.random() < behind:
        reach = -reach
    near = colour(rng, behind, 0.45)
    # Most often the same paint in another light; else another colour.
    far = np.clip(near * ((behind + reach) / behind), 0, 1)
    if rng.random() < 0.3:
        far = colour(rng, min(1.0, max(0.0, behind + reach)), 0.4)
    scene = near[:, None, None] + field * (far - near)[:, None, None]
    step = luma(far) - luma(near)
    low, high, _, _ = cv2.minMaxLoc(field)
    return scene, luma(near) + cv2.mean(field)[0] * step, (high - low) * abs(step)


def _cover(scene: np.ndarray, paint: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paint [3] over the scene where the mask [H, W] says."""
    return scene + mask * (paint[:, None, None] - scene)


def _shift(mask: np.ndarray, x: float, y: float) -> np.ndarray:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(mask, move, (mask.shape[1], mask.shape[0]))


def _shadow(
    rng: np.random.Generator, scene: np.ndarray, text: np.ndarray, glyph: float, front: float
) -> np.ndarray:
    """A soft shadow, or the side faces of raised letters, towards one corner."""
    angle = 2 * np.pi * rng.random()
    reach = max(1.0, glyph * rng.uniform(0.04, 0.12))
    x, y = reach * np.cos(angle), reach * np.sin(angle)
    if rng.random() < 0.5:
        shadow = cv2.GaussianBlur(_shift(text, x, y), (0, 0), 0.3 + reach * rng.uniform(0.2, 0.7))
        strength = rng.uniform(0.4, 0.9)
    else:
        shadow, strength = text, 1.0
        parts = 1 + int(reach)
        for part in range(1, parts + 1):
            shadow = np.maximum(shadow, _shift(text, part * x / parts, part * y / parts))
    # A shadow is dark; below dark letters it is the light edge of engraved ones.
    lightness = rng.uniform(0, front - 0.3) if front > 0.4 else rng.uniform(front + 0.35, 1.0)
    return _cover(scene, colour(rng, lightness, 0.2), np.float32(strength) * shadow)


def _contour(
    rng: np.random.Generator, scene: np.ndarray, text: np.ndarray, glyph: float, front: float
) -> np.ndarray:
    """A contour that sets the letters off."""
    size = 1 + 2 * max(1, round(glyph * rng.uniform(0.02, 0.09)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    lightness = rng.uniform(0, 0.3) if front > 0.5 else rng.uniform(0.7, 1.0)
    return _cover(scene, colour(rng, lightness, 0.4), cv2.dilate(text, kernel))


def _occlude(
    rng: np.random.Generator, scene: np.ndarray, glyph: float, behind: float
) -> np.ndarray:
    """A wire, a branch or a spot in front, thin or small enough to read past."""
    height, width = scene.shape[1:]
    mask = np.zeros((height, width), np.float32)
    if rng.random() < 0.6:
        ends = [(int(rng.integers(width)), 0), (int(rng.integers(width)), height)]
        if rng.random() < 0.5:
            ends = [(0, int(rng.integers(height))), (width, int(rng.integers(height)))]
        cv2.line(mask, *ends, 1.0, max(1, round(0.08 * glyph)))
    else:
        centre = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(mask, centre, max(1, round(glyph * rng.uniform(0.1, 0.2))), 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.6)
    return _cover(scene, colour(rng, behind * rng.uniform(0.5, 1.0), 0.3), mask)


def _shade(rng: np.random.Generator, scene: np.ndarray) -> np.ndarray:
    """Uneven light: darker towards one side, or in patches, in the colour of the lamp."""
    height, width = scene.shape[1:]
    if rng.random() < 0.6:
        field = background.smooth_field(rng, height, width)
    else:
        field = background.blotches(rng, height, width)
    lamp = 1.1 + np.float32(0.12) * (rng.random(3, dtype=np.float32) - 0.5)
    return scene * (1 - np.float32(rng.uniform(0.1, 0.4)) * field) * lamp[:, None, None]
