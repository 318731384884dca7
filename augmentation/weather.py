"""Group "weather": fog, snow, frost, rain and shadow, laid over the image."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .motion import Trail
from .operation import Photometric, three_channels, to_pixels
from .texture import ice, plasma

FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7))  # strength, decay of the plasma
# Mended: the reference multiplies its weights in twice. These are what comes of it, the squares of
# (1, .4), (.8, .6), (.7, .7), kept because published trainings saw these strengths.
FROST = ((1.0, 0.16), (0.64, 0.36), (0.49, 0.49))  # weight of the image, of the ice
SNOW_DEGREES = (-135, -45)
RAIN_STROKES = ((49, 68), (69, 88), (89, 108))  # both ends included
RAIN_LENGTH = (5, 9)  # both ends included
RAIN_SLANT = (-60, 59)  # degrees from the vertical, both ends included
RAIN_COLOUR = (200, 200, 200)
SHADOW_OPACITY = ((64, 95), (96, 127), (128, 159))  # of 255, both ends included


@dataclass(frozen=True)
class Flakes:
    """One row of Snow: flakes are N(mean, .3) above the cut, drawn out along the trail."""

    mean: float
    cut: float
    trail: Trail
    keep: float  # what stays of the image before it is whitened

    STD = 0.3


SNOW = (
    Flakes(0.1, 0.5, Trail(10, 4), keep=0.8),
    Flakes(0.2, 0.5, Trail(12, 4), keep=0.7),
    Flakes(0.55, 0.9, Trail(12, 8), keep=0.7),
)


def fog(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Add a plasma and compress to the image's old maximum: grey from black to white."""
    strength, decay = FOG[magnitude]
    brightest = float(image.max())
    field = plasma(*image.shape[:2], decay, rng) * np.float32(255 * strength)
    kept = brightest / (brightest + 255 * strength)
    return to_pixels((three_channels(field) + image) * np.float32(kept))


def frost(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Lay ice over the image."""
    keep, add = FROST[magnitude]
    pane = ice(*image.shape[:2], rng)
    return to_pixels(cv2.addWeighted(image.astype(np.float32), keep, pane, add, 0))


def snow(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Whiten the image and let flakes fall on it twice, the second time turned by 180 degrees."""
    flakes = SNOW[magnitude]
    falling = rng.standard_normal(image.shape[:2], dtype=np.float32)
    falling *= np.float32(flakes.STD)
    falling += np.float32(flakes.mean)
    falling[falling < flakes.cut] = 0
    falling = np.floor(255 * np.minimum(falling, 1))
    falling = flakes.trail.blur(falling, rng.uniform(*SNOW_DEGREES))
    falling += falling[::-1, ::-1].copy()  # the copy: both halves must see the layer unturned

    kept = image * np.float32(flakes.keep)
    luma = cv2.cvtColor(kept, cv2.COLOR_RGB2GRAY)
    white = np.maximum(kept, three_channels(luma * np.float32(1.5) + np.float32(127.5)))
    white *= np.float32(1 - flakes.keep)
    white += kept
    white += three_channels(falling)
    return to_pixels(white)


def rain(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Opaque grey strokes, one pixel wide, all of one slant."""
    height, width = image.shape[:2]
    count = int(rng.integers(*RAIN_STROKES[magnitude], endpoint=True))
    slant = math.radians(rng.integers(*RAIN_SLANT, endpoint=True))
    length = rng.integers(*RAIN_LENGTH, count, endpoint=True)
    strokes = np.empty((count, 2, 2), np.int32)  # start and end, x and y
    strokes[:, 0, 0] = rng.integers(0, np.maximum(width - length, 1))
    strokes[:, 0, 1] = rng.integers(0, np.maximum(height - length, 1))
    strokes[:, 1, 0] = strokes[:, 0, 0] + length * math.sin(slant)
    strokes[:, 1, 1] = strokes[:, 0, 1] + length * math.cos(slant)
    return cv2.polylines(image.copy(), strokes, isClosed=False, color=RAIN_COLOUR)


def shadow(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Darken one quadrilateral from the upper to the lower edge, about half of the image."""
    height, width = image.shape[:2]
    opacity = rng.integers(*SHADOW_OPACITY[magnitude], endpoint=True) / 255
    middle = width // 2
    left = rng.integers(0, max(middle, 1), 2)
    right = rng.integers(middle, width, 2)
    corners = np.int32([(left[0], 0), (right[0], 0), (right[1], height - 1), (left[1], height - 1)])
    light = np.ones((height, width), np.float32)
    cv2.fillConvexPoly(light, corners, 1 - opacity)
    return to_pixels(image * three_channels(light))


WEATHER = (
    Photometric("Fog", "weather", fog),
    Photometric("Snow", "weather", snow),
    Photometric("Frost", "weather", frost),
    Photometric("Rain", "weather", rain),
    Photometric("Shadow", "weather", shadow),
)
