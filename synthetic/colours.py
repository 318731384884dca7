"""Colours of a wanted lightness: text against background."""

import math

import numpy as np

# Hues as directions in the plane of blue (Cb) and red (Cr) difference, in degrees, and how often
# they occur: paint, wood, brick and lamplight are warm, sky and many signs blue, few things pink.
HUES = (
    (108, 0.18),  # red
    (135, 0.24),  # orange, brown
    (172, 0.18),  # yellow
    (225, 0.12),  # green
    (300, 0.08),  # turquoise
    (345, 0.16),  # blue
    (45, 0.04),  # purple
)
_DIRECTIONS = tuple(hue for hue, _ in HUES)
_CUMULATED = tuple(np.cumsum([share for _, share in HUES]).tolist())


def colour(rng: np.random.Generator, lightness: float, saturated: float) -> np.ndarray:
    """A colour float32 [3] (RGB, 0 to 1) with about the wanted luma.

    Args:
        rng: Source of hue and saturation.
        lightness: Luma, 0 to 1.
        saturated: Share of strong colours; the others are near grey.
    """
    # Near black and white there is no room for colour.
    room = 1 - abs(2 * lightness - 1) ** 3
    kind, strength = rng.random(), rng.random()
    strength = 0.06 + 0.2 * strength if kind < saturated else 0.07 * strength * strength
    pick = rng.random() * _CUMULATED[-1]
    direction = next(d for d, upto in zip(_DIRECTIONS, _CUMULATED, strict=True) if pick <= upto)
    hue = math.radians(direction + 40 * (rng.random() - 0.5))
    blue, red = math.cos(hue) * strength * room, math.sin(hue) * strength * room
    rgb = (
        lightness + 1.402 * red,
        lightness - 0.344 * blue - 0.714 * red,
        lightness + 1.772 * blue,
    )
    return np.array([min(1.0, max(0.0, part)) for part in rgb], np.float32)


def luma(rgb: np.ndarray) -> float:
    """Lightness of a colour [3], 0 to 1, weighted as JPEG weighs it."""
    return float(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])


def from_quantiles(rng: np.random.Generator, low: float, median: float, high: float) -> float:
    """A draw whose 10%, 50% and 90% quantiles are the three numbers; straight in between."""
    points = (0.0, 0.1, 0.5, 0.9, 1.0)
    values = (low * 0.75, low, median, high, min(1.0, high * 1.15))
    return float(np.interp(rng.random(), points, values))


def text_lightness(rng: np.random.Generator, background: float, contrast: float) -> float:
    """A lightness that differs from the background's by `contrast`, or as far as there is room."""
    darker, lighter = background - contrast, background + contrast
    if darker < 0 and lighter > 1:
        return 0.0 if background > 0.5 else 1.0
    if darker < 0:
        return lighter
    if lighter > 1:
        return darker
    return darker if rng.random() < background else lighter
