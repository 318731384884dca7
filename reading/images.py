"""What can be read: files, encoded bytes, Pillow images, RGB arrays; and files in a folder."""

import glob
import re
from pathlib import Path

import numpy as np
from PIL import Image

from loading.preprocessing import UnreadableImageError, decode_image, preprocess
from models.config import ModelConfig

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

SAMPLES = Path(__file__).resolve().parents[1] / "demo_imgs"  # that come with the repository

ImageLike = str | Path | bytes | bytearray | memoryview | Image.Image | np.ndarray


def open_image(image: ImageLike, channels: int = 3) -> Image.Image:
    """Any accepted kind of image as a Pillow image, RGB or grey, as a viewer shows it.

    What a camera notes of its orientation is followed, and transparency lies on white.

    Args:
        image: a path, encoded bytes, a Pillow image of any mode, or an array uint8 [H, W, 3] in
            RGB order (OpenCV's are BGR: give `array[:, :, ::-1]`).
        channels: 3 for RGB, 1 for grey.

    Raises:
        UnreadableImageError: it can't be decoded, is of no accepted kind, or is an array of
            another shape or type.

    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UnreadableImageError(
                f"an array must be RGB, uint8 [H, W, 3], not {image.dtype} {list(image.shape)}"
            )
        return decode_image(Image.fromarray(image), channels)
    if isinstance(image, bytearray | memoryview):
        image = bytes(image)
    if isinstance(image, bytes | Image.Image):
        return decode_image(image, channels, as_shown=True)
    if not isinstance(image, str | Path):
        raise UnreadableImageError(
            f"a {type(image).__name__} is no image; give a path, encoded bytes, a Pillow image, or "
            "an RGB array uint8 [H, W, 3]"
        )
    try:
        return decode_image(Path(image), channels, as_shown=True)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{image}: {error}") from None


def model_input(image: ImageLike, config: ModelConfig) -> np.ndarray:
    """An image as a model takes it: uint8 `[C, H, W]`, of the configuration's size and channels.

    Raises:
        UnreadableImageError: as `open_image`.

    """
    opened = open_image(image, config.channels)
    return preprocess(opened, config.image_height, config.image_width, config.keep_ratio)


def find_images(place: str | Path) -> list[Path]:
    """Image files: the file itself, those of a folder, or those that a glob matches.

    Raises:
        FileNotFoundError: nothing is there; the message says what was looked for.

    """
    path = Path(place)
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    else:
        candidates = [Path(p) for p in glob.glob(str(place), recursive=True)]
    # A link to nothing, too, so that reading it tells of it.
    found = sorted((p for p in candidates if p.is_file() or not p.exists()), key=_natural)
    if not found:
        raise FileNotFoundError(
            f"There are no images at {place}; give an image, a folder with "
            f"{', '.join(sorted(IMAGE_SUFFIXES))} files, or a glob in quotes."
        )
    return found


def shown_path(path: Path | str) -> str:
    """A path as UTF-8 can have it: bytes of it that are no UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _natural(path: Path) -> list:
    """2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
