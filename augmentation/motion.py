"""The one-sided motion trail that MotionBlur and Snow share."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

# Taps that weigh less than this against the strongest cannot change an 8-bit value by one.
FAINTEST = 1 / 512


@dataclass(frozen=True)
class Trail:
    """Half a Gaussian in one direction: what a shutter leaves of a thing that moves away.

    Attributes:
        radius: at most ``2 * radius + 1`` taps, one pixel apart.
        sigma: width of the half Gaussian, in pixels.
    """

    radius: int
    sigma: float

    def taps(self, degrees: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets x, y (int ``[N]``) of the input pixels, and their weights of sum 1 (``[N]``)."""
        step = np.arange(2 * self.radius + 1)
        weight = np.exp(-(step**2) / (2 * self.sigma**2))
        step, weight = step[weight >= FAINTEST], weight[weight >= FAINTEST]
        angle = math.radians(degrees)
        x = np.rint(step * math.cos(angle)).astype(int)
        y = np.rint(step * math.sin(angle)).astype(int)
        return x, y, weight / weight.sum()

    def blur(self, image: np.ndarray, degrees: float) -> np.ndarray:
        """Blur float32 ``[H, W]`` or ``[H, W, 3]`` along an angle; the border is replicated."""
        x, y, weight = self.taps(degrees)
        left, top = min(0, x.min()), min(0, y.min())
        kernel = np.zeros((y.max() - top + 1, x.max() - left + 1), np.float32)
        np.add.at(kernel, (y - top, x - left), weight)
        anchor = (int(-left), int(-top))
        return cv2.filter2D(image, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)

    def displacement(self, degrees: float) -> tuple[float, float]:
        """Pixels x, y from where the content lands back to where it came from."""
        x, y, weight = self.taps(degrees)
        return float(x @ weight), float(y @ weight)
