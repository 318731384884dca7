"""What was misread, with the images and where the model looked, for the HTML page."""

import base64
import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from rapidfuzz.distance import Levenshtein

from dataset import RecordSet
from engine.evaluation import ReadWord
from preprocessing import decode_image, resize_image
from reading import Reader
from scoring.statistics import SEED
from scoring.summary import Summary, without_repetition
from text import Reading

LARGEST = (320, 128)  # pixels of a picture
MAP_SIZE = (64, 16)  # columns and rows of a core-area map


@dataclass(frozen=True)
class Gallery:
    """Misread words of one checkpoint.

    Attributes:
        path: of the checkpoint.
        errors: how many words were misread, each image counted once.
        items: those that are shown, as plain values; see `_item`.

    """

    path: str
    errors: int
    items: list[dict]


def gallery(
    summary: Summary,
    reader: Reader,
    sets: Mapping[str, RecordSet],
    most: int,
    on_images: Callable[[int], None] = lambda _: None,
) -> Gallery:
    """Misread words, read again for their attention.

    Args:
        summary: with its words.
        reader: of the same model.
        sets: that the words are from.
        most: how many are shown; of more, as many are drawn at random (seed `SEED`).
        on_images: told of each.

    """
    words = [w for score in without_repetition(summary.scores) for w in score.words]
    errors = [word for word in words if not word.right("fused")]
    shown = errors
    if len(errors) > most:
        chosen = random.Random(SEED).sample(range(len(errors)), most)
        shown = [errors[place] for place in sorted(chosen)]
    items = []
    stored = (sets[word.source].read(word.record)[0] for word in shown)
    images = (decode_image(one, reader.config.channels) for one in stored)
    for word, (image, reading) in zip(shown, _read(reader, images), strict=True):
        items.append(_item(word, image, reading, reader))
        on_images(1)
    return Gallery(summary.path, len(errors), items)


def _read(reader: Reader, images) -> Sequence[tuple[Image.Image, Reading]]:
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == reader.batch_size:
            yield from zip(batch, reader.stream(batch, attention=True), strict=True)
            batch = []
    yield from zip(batch, reader.stream(batch, attention=True), strict=True)


def _item(word: ReadWord, image: Image.Image, reading: Reading, reader: Reader) -> dict:
    """A misread word as plain values: texts as compared, pieces and maps as read."""
    config = reader.config
    seen = resize_image(image, config.image_height, config.image_width, config.keep_ratio)
    readings = []
    for name, own in reading.by_granularity.items():
        pieces = [reader.codecs[name].decode([i]) for i in own.ids] + ["stop"] * own.stopped
        maps = reading.attention.get(name, ()) if reading.attention else ()
        readings.append(
            {
                "name": name,
                "text": word.texts[name],
                "confidence": round(word.confidences[name], 4),
                "right": word.right(name),
                "chosen": name == word.granularity,
                "pieces": pieces,
                "probabilities": [round(p, 4) for p in own.probabilities],
                # Position 0 is start, and never read.
                "maps": [_map(maps[i]) for i in range(1, len(pieces) + 1)] if len(maps) else [],
            }
        )
    return {
        "set": word.source,
        "record": word.record,
        "truth": word.truth,
        "text": word.texts["fused"],
        "confidence": round(word.confidences["fused"], 4),
        "distance": Levenshtein.distance(word.truth, word.texts["fused"]),
        "beyondLimit": word.beyond_limit,
        "readings": readings,
        "coreArea": None if reading.core_area is None else _map(_smaller(reading.core_area)),
        "seen": seen.width / config.image_width,
        **_picture(image),
    }


def _picture(image: Image.Image) -> dict:
    """The image anew as a small JPEG, so that nothing of the stored bytes reaches the page."""
    small = image.convert("RGB")
    small.thumbnail(LARGEST, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85)
    return {"image": _base64(stream.getvalue()), "width": small.width, "height": small.height}


def _map(values: np.ndarray) -> dict:
    """A map's values as bytes, 255 for the largest."""
    levels = np.clip(values / max(float(values.max()), 1e-12), 0, 1) * 255
    rows, columns = values.shape
    return {
        "rows": rows,
        "columns": columns,
        "values": _base64(levels.round().astype(np.uint8).tobytes()),
    }


def _smaller(values: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize(MAP_SIZE, Image.Resampling.BOX))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
