"""What a camera does to an image. Each takes and gives float32 [H, W, 3] from 0 to 1."""

import cv2
import numpy as np


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Out of focus by `sigma` pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def motion_blur(image: np.ndarray, length: float, degrees: float) -> np.ndarray:
    """Moved by `length` pixels during exposure."""
    size = 2 * int(np.ceil(length / 2)) + 3
    kernel = np.zeros((size, size), np.uint8)
    reach = 0.5 * length * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    # cv2.line takes whole numbers; shift 4 makes them sixteenths of a pixel.
    ends = [[round(16 * (size // 2 + sign * step)) for step in reach] for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    return cv2.filter2D(image, -1, kernel.astype(np.float32) / kernel.sum())


def noise(rng: np.random.Generator, image: np.ndarray, sigma: float, grain: int) -> np.ndarray:
    """Sensor noise of standard deviation `sigma`.

    Args:
        rng: Source of the noise.
        image: float32 [H, W, 3].
        sigma: Standard deviation, in units of full scale.
        grain: 1 for noise of single pixels; 2 for the coarser grain of a processed photo.
    """
    height, width = image.shape[:2]
    channels = 3 if rng.random() < 0.4 else 1
    shape = (-(-height // grain), -(-width // grain), channels)
    grains = rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)
    if grain > 1:
        grains = cv2.resize(grains, (width, height)).reshape(height, width, channels)
    return image + grains


def sharpen(image: np.ndarray, amount: float) -> np.ndarray:
    """Unsharp mask: the halos of phone and video cameras."""
    return image + np.float32(amount) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """JPEG at `quality` (1 to 100) and back."""
    pixels = to_uint8(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    _, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    pixels = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return pixels.astype(np.float32) * np.float32(1 / 255)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255, uint8, of an image from 0 to 1."""
    # One call that scales, rounds and saturates.
    return cv2.addWeighted(image, 255, image, 0, 0, dtype=cv2.CV_8U)
