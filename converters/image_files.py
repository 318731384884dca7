"""Image files of a source: found below its folder, read once, and checked."""

from pathlib import Path

import numpy as np

from converters.lost_word import LostWordError
from loading.preprocessing import UnreadableImageError, decode_image
from records.labelled_folder import LEADS_OUT, path_below, read_file

NO_IMAGE = "no such image"


def read_image_file(folder: Path, name: str) -> bytes:
    """The bytes of an image file, by its path below the source's folder.

    Raises:
        LostWordError: there is no such file, or the path leads out of the folder.

    """
    path = path_below(folder, name)
    if path is None:
        raise LostWordError(LEADS_OUT)
    contents = read_file(folder / path)
    if contents is None:
        raise LostWordError(NO_IMAGE)
    return contents


def decode_pixels(contents: bytes) -> np.ndarray:
    """Pixels of an image file, uint8 [H, W, 3], RGB.

    Raises:
        LostWordError: it can't be decoded.

    """
    try:
        return np.asarray(decode_image(contents))
    except UnreadableImageError as error:
        raise LostWordError("unreadable image", str(error)) from None
