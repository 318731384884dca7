"""What every image operation is, and the few helpers all of them share.

Some change the values of pixels, some move pixels, and some blurs do both; what moves them says
where each comes from (`augmentation.moves`), for core areas to follow.

Source of all parameters in this package: reference facts, augmentation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .moves import Move, MovedCoreArea

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
            with no new values and 0 from outside; None stays None.
        """
        if magnitude not in MAGNITUDES:
            raise ValueError(f"{self.name} has no magnitude {magnitude!r}; use 0, 1 or 2.")
        image, move = self.apply(image, magnitude, rng)
        if core_area is None:
            return image, None
        if move is None:
            return image, core_area.copy()
        moved = MovedCoreArea(core_area)
        moved.follow(move)
        return image, moved.result()

    @abstractmethod
    def apply(
        self, image: np.ndarray, magnitude: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Move | None]:
        """The new image, and where its pixels come from; None where they stay."""


@dataclass(frozen=True)
class Photometric(Operation):
    """An operation that moves nothing: the core area stays where it is.

    Attributes:
        change: ``change(image, magnitude, rng) -> image``, a new uint8 ``[H, W, 3]``.
    """

    change: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

    def apply(
        self, image: np.ndarray, magnitude: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Move | None]:
        """Change the image."""
        return self.change(image, magnitude, rng), None


@dataclass(frozen=True)
class Geometric(Operation):
    """An operation that moves pixels; what comes from outside the image is black.

    Attributes:
        draw_map: ``draw_map(height, width, magnitude, rng) -> (x, y)``, for each output pixel the
            place in the input that it comes from, float32 ``[H, W]`` each, in pixels.
        interpolation: OpenCV's flag for the image.
    """

    draw_map: Callable[[int, int, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    interpolation: int

    def apply(
        self, image: np.ndarray, magnitude: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Move | None]:
        """Send the image through a map."""
        move = Move(*self.draw_map(*image.shape[:2], magnitude, rng), self.interpolation)
        return move.apply(image), move


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Clip to 0..255 and cut (not round) to uint8, which darkens by 0.5 as the reference does."""
    return np.clip(values, 0, 255).astype(np.uint8)


def three_channels(field: np.ndarray) -> np.ndarray:
    """``[H, W]`` → ``[H, W, 3]``. NumPy's broadcasting over 3 channels is many times slower."""
    return cv2.merge((field, field, field))


def random_sign(rng: np.random.Generator) -> int:
    """-1 or 1, with equal chance."""
    return 1 if rng.random() < 0.5 else -1
