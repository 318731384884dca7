"""Readings, maps and images as plain values, which a page's script draws."""

import base64
import io

import numpy as np
from PIL import Image

from text import Codec, Reading

LARGEST = (320, 128)  # pixels of a picture
MAP_SIZE = (64, 16)  # columns and rows of a core-area map


def granularity_values(name: str, reading: Reading, codec: Codec) -> dict:
    """What one granularity reads, piece by piece (the last is stop, where there is one).

    `maps` has one for each piece, and is empty where the reading has no attention.
    """
    own = reading.by_granularity[name]
    pieces = [codec.decode([i]) for i in own.ids] + ["stop"] * own.stopped
    maps = reading.attention.get(name, ()) if reading.attention else ()
    return {
        "name": name,
        "text": own.text,
        "confidence": round(own.confidence, 6),
        "chosen": name == reading.granularity,
        "stopped": own.stopped,
        "pieces": pieces,
        "probabilities": [round(p, 4) for p in own.probabilities],
        # Position 0 is start, and never read.
        "maps": [map_values(maps[i]) for i in range(1, len(pieces) + 1)] if len(maps) else [],
    }


def map_values(values: np.ndarray, low: float = 0.0, high: float | None = None) -> dict:
    """A map [rows, columns] as bytes: 0 for `low` and less, 255 for `high` (the largest) and more.

    What is no number counts as 0.
    """
    values = np.nan_to_num(np.asarray(values, dtype=np.float64))
    high = float(values.max()) if high is None else high
    levels = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    rows, columns = values.shape
    return {
        "rows": rows,
        "columns": columns,
        "values": _base64(levels.round().astype(np.uint8).tobytes()),
    }


def smaller_map(values: np.ndarray) -> np.ndarray:
    """A core-area map [H, W] in the size in which pages draw it."""
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize(MAP_SIZE, Image.Resampling.BOX))


def small_picture(image: Image.Image) -> Image.Image:
    """The image in RGB, at most as large as pages show it."""
    small = image.convert("RGB")
    small.thumbnail(LARGEST, Image.Resampling.BICUBIC)
    return small


def picture_values(image: Image.Image) -> dict:
    """The image anew as a small JPEG, so that nothing of the stored bytes reaches the page."""
    small = small_picture(image)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85)
    return {"image": _base64(stream.getvalue()), "width": small.width, "height": small.height}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
