"""Sources of word images that are copied as they are, byte by byte."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from converters.image_files import decode_pixels, read_image_file
from converters.lost_word import LostWordError, usable_label
from converters.source import Dropped, Word
from records.char_boxes import BoxEntry

IMAGES_PER_TASK = 200


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """A word image as its source has it.

    Attributes:
        path: of the image file, below the source's folder, with slashes.
        label: what it says.
        boxes: of its characters, in its pixels; None without.
        remark: as in `Word`.

    """

    path: str
    label: str
    boxes: Sequence[BoxEntry] | None = None
    remark: tuple[str, str] | None = None


def copy_images(
    entries: Sequence[AnnotatedImage | Dropped], folder: Path, check: bool
) -> list[Word | Dropped]:
    """The records of some images.

    Args:
        entries: the images; what is dropped already is passed on.
        folder: where their paths start.
        check: decode every image, and drop what can't be decoded.

    """
    return [
        entry if isinstance(entry, Dropped) else _copy_image(entry, folder, check)
        for entry in entries
    ]


def _copy_image(entry: AnnotatedImage, folder: Path, check: bool) -> Word | Dropped:
    try:
        label = usable_label(entry.label)
        image = read_image_file(folder, entry.path)
        if check:
            decode_pixels(image)
    except LostWordError as error:
        return error.dropped(entry.path)
    return Word(image, label, entry.boxes, entry.remark)


class ImageList:
    """The `Source` of a list of images.

    Args:
        job: what decides about the entries.
        entries: the images, in order.
        folder: where their paths start.
        check: decode every image, and drop what can't be decoded.

    """

    def __init__(
        self, job: dict, entries: Sequence[AnnotatedImage | Dropped], folder: Path, check: bool
    ):
        self.job = {**job, "input": str(folder), "check": check}
        self.convert = partial(copy_images, folder=folder, check=check)
        self._entries = entries

    def __len__(self) -> int:
        return -(-len(self._entries) // IMAGES_PER_TASK)

    def tasks(self, start: int) -> Iterator[Sequence[AnnotatedImage | Dropped]]:
        """Some images each, from task `start` on."""
        for first in range(start * IMAGES_PER_TASK, len(self._entries), IMAGES_PER_TASK):
            yield self._entries[first : first + IMAGES_PER_TASK]
