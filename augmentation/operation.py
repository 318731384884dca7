"""What every image operation is, and the few helpers all of them share.

An operation takes and returns an image together with its core-area map. Only two kinds exist:
those that change pixel values in place, and those that move pixels; the second kind is written
as one coordinate map, sent through both arrays, so that the two can never come apart.

Source of all parameters in this package: reference facts, augmentation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

MAGNITUDES = (0, 1, 2)


@dataclass(frozen=True)
class Operation(ABC):
    """One image operation.

    Attributes:
        name: as in the reference, "Posterize".
        group: the group it belongs to, "process".
    """

    name: str
    group: str

    def __call__(
        self,
        image: np.ndarray,
        core_area: np.ndarray | None,
        magnitude: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Apply the operation.

        Args:
            image: uint8 ``[H, W, 3]``, RGB. Never written to.
            core_area: uint8 ``[H, W]`` of any values, or None. Never written to.
            magnitude: 0, 1 or 2, the row of the operation's table. Not always "stronger":
                Posterize and Solarize run backwards, Sharpness and Color are two-sided.
            rng: a numpy Generator, the only source of chance.

        Returns:
            New arrays of the same sizes. Where the content moves, the core area has moved alike,
            with nearest interpolation and 0 from outside; None stays None.
        """
        if magnitude not in MAGNITUDES:
            raise ValueError(f"{self.name} has no magnitude {magnitude!r}; use 0, 1 or 2.")
        return self.apply(image, core_area, magnitude, rng)

    @abstractmethod
    def apply(self, image, core_area, magnitude, rng):
        """Do the work of the call, with the magnitude already checked."""


@dataclass(frozen=True)
class Photometric(Operation):
    """An operation that moves nothing: the core area stays where it is.

    Attributes:
        change: ``change(image, magnitude, rng) -> image``, a new uint8 ``[H, W, 3]``.
    """

    change: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

    def apply(self, image, core_area, magnitude, rng):
        """Change the image, copy the core area."""
        changed = self.change(image, magnitude, rng)
        return changed, None if core_area is None else core_area.copy()


@dataclass(frozen=True)
class Geometric(Operation):
    """An operation that moves pixels; what comes from outside the image is black.

    Attributes:
        draw_map: ``draw_map(height, width, magnitude, rng) -> (x, y)``, for each output pixel the
            place in the input that it comes from, float32 ``[H, W]`` each, in pixels.
        interpolation: OpenCV's flag for the image; the core area always takes the nearest pixel.
    """

    draw_map: Callable[[int, int, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    interpolation: int

    def apply(self, image, core_area, magnitude, rng):
        """Send image and core area through one map."""
        x, y = self.draw_map(*image.shape[:2], magnitude, rng)
        moved = cv2.remap(image, x, y, self.interpolation)
        if core_area is not None:
            core_area = cv2.remap(core_area, x, y, cv2.INTER_NEAREST)
        return moved, core_area


@lru_cache(maxsize=64)
def pixel_axes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates that broadcast to the image: x ``[1, W]`` and y ``[H, 1]``, float32."""
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    for axis in (x, y):
        axis.setflags(write=False)  # shared by all callers
    return x, y


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Clip to 0..255 and cut (not round) to uint8, which darkens by 0.5 as the reference does."""
    return np.clip(values, 0, 255).astype(np.uint8)


def three_channels(field: np.ndarray) -> np.ndarray:
    """``[H, W]`` → ``[H, W, 3]``. NumPy's broadcasting over 3 channels is many times slower."""
    return cv2.merge((field, field, field))


def random_sign(rng: np.random.Generator) -> int:
    """-1 or 1, with equal chance."""
    return 1 if rng.random() < 0.5 else -1
