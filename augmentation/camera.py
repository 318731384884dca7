"""Group "camera": what an exposure, a sensor and a JPEG encoder do. No chance in any of them."""

import cv2
import numpy as np

from .operation import Photometric, to_pixels

CONTRAST = (0.4, 0.3, 0.2)  # always less than the image has
BRIGHTNESS = (0.1, 0.2, 0.3)  # added to V of HSV, on the 0..1 scale
JPEG_QUALITY = (25, 18, 15)
PIXELATE = (0.6, 0.5, 0.4)  # of the side


def contrast(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Draw each channel towards its mean."""
    mean = np.array(cv2.mean(image)[:3])
    values = (np.arange(256)[:, None] - mean) * CONTRAST[magnitude] + mean  # (256, 3)
    return cv2.LUT(image, to_pixels(values)[None])


def brightness(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Raise V of HSV; hue and saturation stay, so all channels grow by one gain."""
    red, green, blue = cv2.split(image)
    value = cv2.max(cv2.max(red, green), blue)
    levels = np.arange(256, dtype=np.float32)
    added = 255 * BRIGHTNESS[magnitude]
    gain = cv2.LUT(value, np.minimum(levels + added, 255) / np.maximum(levels, 1))
    brighter = to_pixels(image * cv2.merge((gain, gain, gain)))
    brighter[value == 0] = int(added)  # black has no hue to keep and becomes grey
    return brighter


def jpeg_compression(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Encode and decode as JPEG, with the library's 4:2:0 colours."""
    quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY[magnitude])
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def pixelate(image: np.ndarray, magnitude: int, rng: np.random.Generator) -> np.ndarray:
    """Shrink by area and enlarge by the nearest pixel; blocks move by less than a pixel."""
    height, width = image.shape[:2]
    share = PIXELATE[magnitude]
    small = (max(1, int(width * share)), max(1, int(height * share)))
    blocks = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


CAMERA = (
    Photometric("Contrast", "camera", contrast),
    Photometric("Brightness", "camera", brightness),
    Photometric("JpegCompression", "camera", jpeg_compression),
    Photometric("Pixelate", "camera", pixelate),
)
