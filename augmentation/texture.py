"""Random textures: the plasma of Fog and the ice of Frost."""

import math
from functools import cache, lru_cache

import cv2
import numpy as np

# The reference's plasma has 256x256 points, 8 halvings. The last two add less than 2 of 255 levels
# and are left out: a lattice of 64x64 is drawn, one point for each 4th pixel of a 32x128 image.
PLASMA_LEVELS = 6
PLASMA_ROWS = 8  # of the lattice that an image covers, and as many columns as keep it square

ICE_SCALES = (1, 3, 9)  # pixels
ICE_STD = 25
ICE_COLOURS = (  # means of the reference's 6 photographs, RGB
    (78, 149, 166),
    (201, 205, 214),
    (201, 205, 214),
    (138, 153, 165),
    (112, 123, 135),
    (71, 95, 105),
)
ICE_COLOUR_STD = 20


def plasma(height: int, width: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of 0..1, float32 ``[height, width]``.

    Midpoint displacement on a periodic lattice: each halving of the step keeps the old points and
    displaces the new ones by an amplitude that falls by the decay squared. Normalised over the
    whole lattice, of which an image sees only a corner.
    """
    field = np.zeros((1, 1), np.float32)
    for halving, amplitude in zip(_halvings(), _amplitudes(decay), strict=True):
        field = halving @ field @ halving.T
        displacement = rng.random(field.shape, dtype=np.float32)
        displacement -= 0.5
        displacement *= amplitude
        field += displacement
    low, high = field.min(), field.max()
    columns = min(len(field), math.ceil(PLASMA_ROWS * width / height))
    corner = (field[:PLASMA_ROWS, :columns] - low) / (high - low)
    return cv2.resize(corner, (width, height), interpolation=cv2.INTER_LINEAR)


@cache
def _halvings() -> tuple[np.ndarray, ...]:
    """For each level the matrix ``[2n, n]`` that puts a point midway between each two."""
    matrices = []
    for level in range(PLASMA_LEVELS):
        points = np.eye(2**level, dtype=np.float32)
        between = (points + np.roll(points, 1, axis=1)) / 2
        matrices.append(np.stack((points, between), axis=1).reshape(-1, 2**level))
    return tuple(matrices)


@lru_cache(maxsize=8)
def _amplitudes(decay: float) -> tuple[np.ndarray, ...]:
    """For each level ``[2n, 2n]``: the displacement's range, 0 at the points that are not new."""
    amplitudes = []
    for level in range(PLASMA_LEVELS):
        side = 2 ** (level + 1)
        amplitude = np.full((side, side), decay ** (-2 * level), np.float32)
        amplitude[::2, ::2] = 0
        amplitudes.append(amplitude)
    return tuple(amplitudes)


def ice(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A frozen window pane, values 0..255, float32 ``[height, width, 3]``.

    Mended: the reference cuts crops out of six photographs, read anew for each image because it
    keeps none of them. This has their mean colours and their roughness at three scales, not their
    crystals.
    """
    field = np.zeros((height, width), np.float32)
    for scale in ICE_SCALES:
        # Smoothing by sigma 1 on a lattice and enlarging it is smoothing by sigma = scale.
        size = (math.ceil(height / scale), math.ceil(width / scale))
        smooth = cv2.GaussianBlur(rng.standard_normal(size, dtype=np.float32), (0, 0), 1)
        field += cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC)
    # A Gaussian of sigma 1 leaves white noise a standard deviation of 1 / (2 sqrt(pi)).
    field *= np.float32(2 * math.sqrt(math.pi) * ICE_STD / math.sqrt(len(ICE_SCALES)))
    field += np.float32(ICE_COLOUR_STD * rng.standard_normal())
    colour = ICE_COLOURS[rng.integers(len(ICE_COLOURS))]
    return np.clip(cv2.merge([field + np.float32(mean) for mean in colour]), 0, 255)
