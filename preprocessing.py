"""Image bytes to the pixels a recognizer sees, bit for bit as the reference makes them."""

import io
import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image


class UnreadableImageError(ValueError):
    """Bytes that are no image, or one that must not be decoded; the message says why."""


def decode_image(source: bytes | Path | Image.Image, channels: int = 3) -> Image.Image:
    """Decode to RGB (3 channels) or grey (1); what is decoded already is brought to that.

    Raises:
        UnreadableImageError: not an image, truncated, empty, or of so many pixels that decoding
            it would exhaust memory.

    """
    mode = "RGB" if channels == 3 else "L"
    if isinstance(source, Image.Image):
        return source.convert(mode)
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF data is no news
            with Image.open(opened) as image:
                return image.convert(mode)
    # Decoders raise nearly anything on damaged data; only running out of memory is not theirs.
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from None


def resize_image(image: Image.Image, height: int, width: int, keep_ratio: bool) -> Image.Image:
    """Bicubic resize (Pillow's, which antialiases) to the input size.

    With `keep_ratio` (`--PAD`) the image is as wide as its ratio asks, at most `width`.
    """
    if keep_ratio:
        width = min(width, math.ceil(height * image.width / image.height))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def to_array(image: Image.Image) -> np.ndarray:
    """Pixels as uint8 [H, W, C]."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def pad_right(pixels: np.ndarray, width: int) -> np.ndarray:
    """Black columns on the right of [H, W, C], up to `width`."""
    missing = width - pixels.shape[1]
    return np.pad(pixels, ((0, 0), (0, missing), (0, 0))) if missing > 0 else pixels


def preprocess(image: Image.Image, height: int, width: int, keep_ratio: bool = False) -> np.ndarray:
    """A decoded image as the model's pixels: uint8 [C, height, width], no mean or deviation."""
    pixels = pad_right(to_array(resize_image(image, height, width, keep_ratio)), width)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
