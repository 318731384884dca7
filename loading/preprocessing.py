"""Image bytes to the pixels a recognizer sees, bit for bit as the reference makes them."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Of what Pillow knows: pixels alone. It would hand PostScript to another program, which runs it.
# The first six need none of its rarer plugins, which take a tenth of a second to import.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "ICO", "PCX")
FORMATS += ("AVIF", "TGA") if find_spec("PIL.AvifImagePlugin") else ("TGA",)  # since Pillow 11.3
EIGHT_BIT = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"))
# 8 bits, too, but little can be done with them: what each is brought to first.
UNUSUAL = {"RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}


class UnreadableImageError(ValueError):
    """Bytes that are no image, or one that must not be decoded; the message says why."""


def decode_image(
    source: bytes | Path | Image.Image, channels: int = 3, as_shown: bool = False
) -> Image.Image:
    """Decode to RGB (3 channels) or grey (1); what is decoded already is brought to that.

    Of an animation, it is the first picture; of 16 bits a channel, the upper 8, if any is used.

    Args:
        source: encoded bytes, a file, or an image.
        channels: 3 or 1.
        as_shown: as a viewer shows it: turned as a camera's note says (EXIF), and transparency on
            white. Data sets are read without, as the reference reads them.

    Raises:
        UnreadableImageError: not an image, truncated, empty, of a kind that has no defined look,
            or of so many pixels that decoding it would exhaust memory.

    """
    if isinstance(source, Image.Image):
        with _refused_in_words(source):
            return _in_mode(source, channels, as_shown)
    with undecoded_image(source) as image:
        return _in_mode(image, channels, as_shown)


def _in_mode(image: Image.Image, channels: int, as_shown: bool) -> Image.Image:
    if 0 in image.size:
        raise ValueError(f"it has no pixels ({image.width}x{image.height})")
    if as_shown:
        image = _upright(image)
    if image.mode in UNUSUAL:
        image = image.convert(UNUSUAL[image.mode])
    image = image if image.mode in EIGHT_BIT else _to_eight_bit(image)
    if as_shown and image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB" if channels == 3 else "L")
    image.info.clear()  # what is decoded is not to be turned or laid on white later on
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its camera noted; as it is stored, where that note is damaged."""
    try:
        # It copies what needs no turning, too.
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # nearly anything, as of damaged pixels, which are found out again later on
        return image


@contextmanager
def undecoded_image(source: bytes | Path) -> Iterator[Image.Image]:
    """An image file, of which only the header is read as yet.

    Raises:
        UnreadableImageError: as `decode_image`; also for what goes wrong while it is open.

    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    Image.preinit()  # else, with a file's suffix known, all others would be looked up
    with _refused_in_words(source), Image.open(opened, formats=FORMATS) as image:
        most = Image.MAX_IMAGE_PIXELS
        # Up to twice as many, Pillow only warns, by filters that belong to the whole process.
        if most is not None and image.width * image.height > most:
            raise Image.DecompressionBombError
        yield image


@contextmanager
def _refused_in_words(source: bytes | Path | Image.Image) -> Iterator[None]:
    try:
        yield
    # Decoders raise nearly anything on damaged data; only running out of memory is not theirs.
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(f"not an image of a known kind ({_begin(source)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # filters may raise it
        raise UnreadableImageError(
            "it has far too many pixels for a word; cut the word out"
        ) from None
    except Exception as error:
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from None


def _begin(source: bytes | Path) -> str:
    if isinstance(source, Path):
        return source.name
    return f"{len(source):,} bytes" + (f", beginning with {source[:12]!r}" if source else "")


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits, of which `convert` would make white nearly everywhere."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of a range that nothing tells")
    if not image.mode.startswith("I"):
        raise ValueError(f"images of mode {image.mode} are not known here")
    values = np.asarray(image)
    # Pillow may open 16 bits as 32, and 8 bits may have been stored as 16.
    if values.min() < 0 or values.max() >= 2**16:
        raise ValueError("its pixels are 32-bit numbers, of a range that nothing tells")
    if values.max() < 2**8:
        return Image.fromarray(values.astype(np.uint8))
    return Image.fromarray((values >> 8).astype(np.uint8))


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
