"""One sample's camera: drawn before the colours are, so that the text can stand out enough."""

from dataclasses import dataclass

import cv2
import numpy as np

from synthetic import degrade
from synthetic.levels import Look

LEAST_CONTRAST = 0.12  # of text that is sharp, on a flat background without noise


@dataclass(frozen=True)
class Camera:
    """The degradations of one image.

    Attributes:
        sigma: Gaussian blur, pixels; 0 for none.
        motion: Length of motion blur, pixels; 0 for none.
        motion_angle: Its direction, degrees.
        noise: Standard deviation of the noise, of full scale 1; 0 for none.
        grain: Size of the noise's grains, pixels.
        coarseness: How many times lower the resolution is; 1 for no loss.
        sharpening: Amount of unsharp masking; 0 for none.
        quality: JPEG quality; 100 for no visible loss.
    """

    sigma: float = 0.0
    motion: float = 0.0
    motion_angle: float = 0.0
    noise: float = 0.0
    grain: int = 1
    coarseness: float = 1.0
    sharpening: float = 0.0
    quality: int = 100

    @staticmethod
    def draw(rng: np.random.Generator, look: Look, stroke: float, glyph: float) -> "Camera":
        """A camera that leaves the text readable.

        Args:
            rng: Source of the draws.
            look: The level.
            stroke: Width of the text's strokes, pixels: blur stays below it.
            glyph: Height of its characters, pixels: resolution loss leaves 8 of them.
        """
        sigma = motion = angle = strength = sharpening = 0.0
        coarseness, grain, quality = 1.0, 1, 100
        if rng.random() < look.blurred:
            amount = stroke * rng.uniform(0.12, 0.45)
            if rng.random() < 0.3:
                motion, angle = 2.5 * amount, 180 * rng.random()
            else:
                sigma = amount
        if rng.random() < look.noisy:
            strength = min(0.005 + rng.exponential(0.018), 0.08)
            grain = 1 + int(rng.random() < 0.3)
        if rng.random() < look.coarse:
            coarseness = rng.uniform(1.0, max(1.0, min(3.0, glyph / 9, stroke / 1.3)))
        if rng.random() < look.sharpened:
            sharpening = rng.uniform(0.4, 1.6)
        if rng.random() < look.compressed:
            # Blocks of 8 pixels weigh more on small characters.
            quality = int(rng.integers(30 if glyph > 20 * coarseness else 50, 80))
        camera = Camera(sigma, motion, angle, strength, grain, coarseness, sharpening, quality)
        # Where all comes together, no colours would stand out enough.
        return camera if camera.contrast_needed(stroke, 0.5, 0.1) < 0.45 else Camera()

    def contrast_needed(self, stroke: float, behind: float, unrest: float) -> float:
        """Least lightness difference, 0 to 1, at which strokes of that width can be read.

        Args:
            stroke: Width of the strokes, pixels.
            behind: Mean lightness of the background, 0 to 1: the eye needs more in the dark.
            unrest: Range of the background's lightness behind the text, 0 to 1.
        """
        pixel = 0.5 * (self.coarseness - 1)
        spread = self.sigma**2 + (0.35 * self.motion) ** 2 + pixel**2
        kept = min(1.0, stroke) / (1 + 1.2 * spread / stroke**2)
        grains = 3 * self.noise * (1 + 0.5 * self.sharpening)
        blocks = 0.08 * (80 - self.quality) / 55 if self.quality < 80 else 0.0
        dark = 0.3 * max(0.0, 0.35 - behind)
        return (LEAST_CONTRAST + dark + grains + 0.8 * unrest + blocks) / kept

    def take(self, rng: np.random.Generator, scene: np.ndarray) -> np.ndarray:
        """The picture, uint8 [H, W, 3], of a scene, float32 [3, H, W] from 0 to 1."""
        _, height, width = scene.shape
        image = cv2.merge(list(scene))
        if self.sigma:
            image = degrade.gaussian_blur(image, self.sigma)
        if self.motion:
            image = degrade.motion_blur(image, self.motion, self.motion_angle)
        if self.coarseness > 1:
            small = max(1, round(width / self.coarseness)), max(1, round(height / self.coarseness))
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        if self.noise:
            image = degrade.noise(rng, image, self.noise, self.grain)
        if self.sharpening:
            image = degrade.sharpen(image, self.sharpening)
        if self.quality < 100:
            image = degrade.compress(image, self.quality)
        if self.coarseness > 1:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        return degrade.to_uint8(image)
