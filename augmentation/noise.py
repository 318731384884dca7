"""Group "noise": drawn for each pixel and each channel on its own."""

from functools import cache

import cv2
import numpy as np

from .operation import Photometric, to_pixels

GAUSSIAN_SIGMA = ((0.08, 0.11), (0.10, 0.13), (0.12, 0.15))  # on the 0..1 scale
SHOT_COUNT = ((13, 20), (8, 15), (3, 10))  # photons at full white; few are strong noise
IMPULSE_SHARE = ((0.03, 0.07), (0.07, 0.11), (0.11, 0.15))
SPECKLE_SIGMA = ((0.15, 0.20), (0.20, 0.25), (0.25, 0.30))

# The Poisson table: means up to MOST photons in ROWS steps, each with COLUMNS equally likely
# outcomes, none of them above LIMIT.
MOST, ROWS, COLUMNS, LIMIT = 20, 1024, 1024, 48


def gaussian_noise(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise, of one sigma for the image."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(255 * rng.uniform(*GAUSSIAN_SIGMA[magnitude]))
    noise += image
    return to_pixels(noise)


def shot_noise(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Count photons: Poisson(v c) / c with v in 0..1; the upper tail is cut, so it darkens."""
    count = rng.uniform(*SHOT_COUNT[magnitude])
    # Rows are even in the square root of the mean, where Poisson noise has equal width.
    rows = np.rint(np.sqrt(np.arange(256) / 255 * count / MOST) * (ROWS - 1)).astype(np.int32)
    cells = cv2.LUT(image, rows * COLUMNS)
    cells += rng.integers(0, COLUMNS, image.shape, dtype=np.uint16)
    photons = poisson_table().take(cells)
    return cv2.LUT(photons, to_pixels(np.arange(256) * 255 / count))


@cache
def poisson_table() -> np.ndarray:
    """Quantiles of the Poisson law, uint8 ``[ROWS * COLUMNS]`` (1 MB, made once in a process).

    Reading a cell at random draws a number 8 times as fast as numpy's ``poisson`` does.
    """
    mean = np.linspace(0, 1, ROWS)[:, None] ** 2 * MOST
    term = np.exp(-mean)  # chance of 0 photons, (ROWS, 1)
    quantile = (np.arange(COLUMNS) + 0.5) / COLUMNS
    below = term
    table = np.zeros((ROWS, COLUMNS), np.uint8)
    for photons in range(1, LIMIT + 1):
        table += quantile > below
        term = term * mean / photons
        below = below + term
    table = table.ravel()
    table.setflags(write=False)  # shared by all callers
    return table


def impulse_noise(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper in each channel, so the specks are coloured."""
    half = np.float32(rng.uniform(*IMPULSE_SHARE[magnitude]) / 2)
    draw = rng.random(image.shape, dtype=np.float32)
    noisy = image.copy()
    np.putmask(noisy, draw < half, 0)
    np.putmask(noisy, draw >= 1 - half, 255)
    return noisy


def speckle_noise(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Multiply by 1 + normal noise: dark areas stay clean."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(*SPECKLE_SIGMA[magnitude]))
    noise += 1
    noise *= image
    return to_pixels(noise)


NOISE = (
    Photometric("GaussianNoise", "noise", gaussian_noise),
    Photometric("ShotNoise", "noise", shot_noise),
    Photometric("ImpulseNoise", "noise", impulse_noise),
    Photometric("SpeckleNoise", "noise", speckle_noise),
)
