"""What was misread, with the images and where the model looked, for the HTML page."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import tee

from PIL import Image
from rapidfuzz.distance import Levenshtein

from dataset import RecordSet
from engine.evaluation import ReadWord
from loading.preprocessing import decode_image, resize_image
from pages.values import granularity_values, map_values, picture_values, smaller_map
from reading import Reader
from scoring.statistics import SEED
from scoring.summary import Summary, each_image_once
from text import Reading


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
    errors = [word for word in each_image_once(summary.scores) if not word.right("fused")]
    shown = errors
    if len(errors) > most:
        chosen = random.Random(SEED).sample(range(len(errors)), most)
        shown = [errors[place] for place in sorted(chosen)]
    items = []
    stored = (sets[word.source].read(word.record)[0] for word in shown)
    # The reader takes a batch ahead; the second iterator keeps those images until they are drawn.
    read, drawn = tee(decode_image(one, reader.config.channels) for one in stored)
    readings = reader.stream(read, attention=True)
    for word, image, reading in zip(shown, drawn, readings, strict=True):
        place = sets[word.source].local_name(word.record)
        items.append(_item(word, place, image, reading, reader))
        on_images(1)
    return Gallery(summary.path, len(errors), items)


def _item(word: ReadWord, place: str, image: Image.Image, reading: Reading, reader: Reader) -> dict:
    """A misread word as plain values: texts as compared, pieces and maps as read."""
    config, core_area = reader.config, reading.core_area
    seen = resize_image(image, config.image_height, config.image_width, config.keep_ratio)
    readings = [
        granularity_values(name, reading, reader.codecs[name])
        # The texts as they were compared.
        | {
            "text": word.texts[name],
            "confidence": round(word.confidences[name], 4),
            "chosen": name == word.granularity,
            "right": word.right(name),
        }
        for name in reading.by_granularity
    ]
    return {
        "set": word.source,
        "record": word.record,
        "place": place,
        "truth": word.truth,
        "text": word.texts["fused"],
        "confidence": round(word.confidences["fused"], 4),
        "distance": Levenshtein.distance(word.truth, word.texts["fused"]),
        "beyondLimit": word.beyond_limit,
        "readings": readings,
        "coreArea": None if core_area is None else map_values(smaller_map(core_area)),
        "seen": seen.width / config.image_width,
        **picture_values(image),
    }
