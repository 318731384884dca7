"""Image files of a source: found below its folder, read once, and checked."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from converters.lost_word import LostWordError
from loading.preprocessing import UnreadableImageError, decode_image
from records.labelled_folder import read_file

NO_IMAGE = "no such image"


def read_image_file(folder: Path, name: str) -> bytes:
    """The bytes of an image file, by its path below the source's folder.

    Raises:
        LostWordError: there is no such file, or the path leads out of the folder.

    """
    # An annotation may come from anywhere, and must not pick files from anywhere.
    path = PurePosixPath(name)
    for place in (folder.absolute(), folder.resolve()):
        if path.is_relative_to(place):
            path = path.relative_to(place)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise LostWordError("path leads out of the folder")
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
