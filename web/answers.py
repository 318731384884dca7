"""Uploaded bytes to what the page shows of an image: its reading, and where the model looked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from loading.preprocessing import UnreadableImageError, decode_image, resize_image, undecoded_image
from pages.values import granularity_values, map_values, picture_values, small_picture
from reading import IMAGE_SUFFIXES, Reader
from text import Reading
from web.limits import Limits

# Begins a segment of a JPEG that has contents, or ends it; within a scan, the others follow 0xFF.
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")
SCAN, END = 0xDA, 0xD9


def count_scans(jpeg: bytes) -> int:
    """Passes over all pixels that a JPEG's first picture asks for."""
    scans, place = 0, 2
    while found := MARKER.search(jpeg, place):
        kind, place = jpeg[found.end() - 1], found.end()
        if kind == END:
            break
        scans += kind == SCAN
        place += int.from_bytes(jpeg[place : place + 2], "big")
    return scans


@dataclass(frozen=True)
class Word:
    """An uploaded image, small.

    Attributes:
        picture: as it is shown.
        resized: to the model's input, without padding.

    """

    picture: Image.Image
    resized: Image.Image


class WordAnswers:
    """What is said about images.

    Args:
        reader: reads them.
        limits: of the images.

    """

    def __init__(self, reader: Reader, limits: Limits):
        self.reader, self.limits = reader, limits
        # MPO is what some phones call their JPEGs. Other formats need programs of their own.
        suffixes = Image.registered_extensions()
        self.formats = {suffixes[suffix] for suffix in IMAGE_SUFFIXES} | {"MPO"}

    def prepare(self, data: bytes) -> Word:
        """Decode an image, and keep only what is needed of it.

        Raises:
            UnreadableImageError: it is none, damaged, of another format, or too large.

        """
        config = self.reader.config
        with undecoded_image(data) as header:
            form, width, height = header.format, header.width, header.height
        if form not in self.formats:
            known = ", ".join(sorted(self.formats - {"MPO"}))
            raise UnreadableImageError(f"it is a {form} file; those that are read are {known}")
        if width * height > self.limits.image_pixels:
            raise UnreadableImageError(
                f"it has {width:,} x {height:,} pixels, and {self.limits.image_pixels:,} are the "
                "most in all; cut the word out"
            )
        scans = count_scans(data) if form in ("JPEG", "MPO") else 1
        if scans > self.limits.image_scans:
            raise UnreadableImageError(
                f"it is a JPEG of {scans:,} scans, and {self.limits.image_scans} are the most"
            )
        image = decode_image(data, config.channels, as_shown=True)
        # Resized now, so that no batch of large images lies in memory; the reader's own resize to
        # the same size changes nothing.
        size = (config.image_height, config.image_width)
        return Word(small_picture(image), resize_image(image, *size, config.keep_ratio))

    def answers(self, words: Sequence[Word]) -> list[dict]:
        """What is said about each, as plain values."""
        readings = self.reader([w.resized for w in words], self.reader.recognition.has_maps)
        return [self._answer(*pair) for pair in zip(words, readings, strict=True)]

    def _answer(self, word: Word, reading: Reading) -> dict:
        codecs = self.reader.codecs
        core_area = guided = None
        if reading.core_area is not None:
            core_area = map_values(reading.core_area, 0, 1)
        if reading.guided_attention is not None:
            guided = _stretched(reading.guided_attention)
        return {
            "text": reading.text,
            "confidence": round(reading.confidence, 6),
            "granularity": reading.granularity,
            "readings": [granularity_values(n, reading, codecs[n]) for n in codecs],
            "coreArea": core_area,
            "guidedAttention": guided,
            "seen": word.resized.width / self.reader.config.image_width,
            **picture_values(word.picture),
        }


def _stretched(values: np.ndarray) -> dict:
    """A map with its own range as its ends."""
    low, high = float(values.min()), float(values.max())
    return map_values(values, low, high) | {"low": f"{low:.3f}", "high": f"{high:.3f}"}
