"""Group "process": tone and colour, each pixel on its own (Sharpness: with its neighbours)."""

import cv2
import numpy as np

from .operation import Photometric, to_pixels

POSTERIZE_BITS = ((1, 2), (3, 4), (6, 7))  # both ends included; 5 is never used
SOLARIZE_THRESHOLD = ((64, 127), (128, 191), (192, 255))  # both ends included
FACTOR = ((0.1, 0.7), (0.7, 1.3), (1.3, 1.9))  # of Sharpness and Color; 1 is the image itself

SMOOTH = np.float32([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def posterize(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Keep the highest bits of each channel."""
    bits = rng.integers(*POSTERIZE_BITS[magnitude], endpoint=True)
    return image & np.uint8(256 - (1 << (8 - bits)))


def solarize(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Turn values at or above a threshold into their negative."""
    threshold = rng.integers(*SOLARIZE_THRESHOLD[magnitude], endpoint=True)
    values = np.arange(256)
    return cv2.LUT(image, np.where(values >= threshold, 255 - values, values).astype(np.uint8))


def invert(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Negative; the same at every magnitude."""
    return 255 - image


def equalize(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Histogram equalisation of each channel; the same at every magnitude.

    Mended: the reference returns its input, because it stores the result under a misspelled name.
    """
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def auto_contrast(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Stretch each channel to 0..255; the same at every magnitude.

    Mended: the reference returns its input, for the same reason as in Equalize.
    """
    return cv2.merge([_stretch(channel) for channel in cv2.split(image)])


def _stretch(channel: np.ndarray) -> np.ndarray:
    if channel.min() == channel.max():
        return channel  # flat: nothing to stretch, and OpenCV would blacken it
    return cv2.normalize(channel, None, 0, 255, cv2.NORM_MINMAX)


def sharpness(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Blend with a 3x3 smoothed image; the outermost pixels have no neighbours and stay."""
    smooth = image.copy()
    smooth[1:-1, 1:-1] = cv2.filter2D(image, -1, SMOOTH)[1:-1, 1:-1]
    return _blend(smooth, image, rng.uniform(*FACTOR[magnitude]))


def color(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Blend with the grey image: fewer colours below factor 1, more above."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blend(grey, image, rng.uniform(*FACTOR[magnitude]))


def _blend(start: np.ndarray, end: np.ndarray, factor: float) -> np.ndarray:
    """``start`` at factor 0, ``end`` at 1, beyond it above 1."""
    return to_pixels(cv2.addWeighted(start, 1 - factor, end, factor, 0, dtype=cv2.CV_32F))


PROCESS = (
    Photometric("Posterize", "process", posterize),
    Photometric("Solarize", "process", solarize),
    Photometric("Invert", "process", invert),
    Photometric("Equalize", "process", equalize),
    Photometric("AutoContrast", "process", auto_contrast),
    Photometric("Sharpness", "process", sharpness),
    Photometric("Color", "process", color),
)
