"""Pictures of where each granularity looks, position by position."""

from collections.abc import Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from text import Codec, Reading

CELL_WIDTH, CELL_HEIGHT = 256, 64
MARGIN = 6
TEXT_HEIGHT = 18
MAX_POSITIONS = 12
TITLES = {"char": "character A3", "bpe": "BPE A3", "wp": "WordPiece A3"}


def attention_picture(
    image: Image.Image, reading: Reading, codecs: Mapping[str, Codec]
) -> Image.Image:
    """The image with every granularity's attention laid over it: a column each.

    A row is a position of the reading (the last is stop), with the piece that was read there and
    its probability. Needs a reading with attention.
    """
    columns = [
        _column(image, name, reading.by_granularity[name], attention, codecs[name])
        for name, attention in reading.attention.items()
    ]
    head = _labelled(
        image.convert("RGB").resize((CELL_WIDTH, CELL_HEIGHT), Image.Resampling.BICUBIC),
        f"{reading.text}  {reading.confidence:.3f}  ({reading.granularity})",
    )
    width = len(columns) * (CELL_WIDTH + MARGIN) + MARGIN
    height = head.height + max(c.height for c in columns) + 3 * MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(head, (MARGIN, MARGIN))
    for i, column in enumerate(columns):
        sheet.paste(column, (MARGIN + i * (CELL_WIDTH + MARGIN), head.height + 2 * MARGIN))
    return sheet


def _column(image, name, own, attention: np.ndarray, codec: Codec) -> Image.Image:
    title = f"{TITLES[name]}: {own.text}  {own.confidence:.3f}"
    cells = [_labelled(None, title)]
    pieces = [codec.decode([i]) or "·" for i in own.ids] + ["(stop)"] * own.stopped
    for position, (piece, probability) in enumerate(
        zip(pieces[:MAX_POSITIONS], own.probabilities, strict=False), start=1
    ):
        cells.append(
            _labelled(
                overlay(image, attention[position]), f"{position}: {piece}  {probability:.3f}"
            )
        )
    if len(pieces) > MAX_POSITIONS:
        cells.append(_labelled(None, f"and {len(pieces) - MAX_POSITIONS} more positions"))
    column = Image.new("RGB", (CELL_WIDTH, sum(c.height for c in cells)), "white")
    top = 0
    for cell in cells:
        column.paste(cell, (0, top))
        top += cell.height
    return column


def overlay(image: Image.Image, attention: np.ndarray) -> Image.Image:
    """An attention map [rows, columns] over an image, from blue (none) to red (its maximum)."""
    pixels = np.asarray(
        image.convert("RGB").resize((CELL_WIDTH, CELL_HEIGHT), Image.Resampling.BICUBIC)
    )
    scaled = attention / max(float(attention.max()), 1e-12)
    enlarged = cv2.resize(
        scaled.astype(np.float32), (CELL_WIDTH, CELL_HEIGHT), interpolation=cv2.INTER_CUBIC
    )
    heat = cv2.applyColorMap((np.clip(enlarged, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_JET)[
        :, :, ::-1
    ]
    return Image.fromarray((0.55 * pixels + 0.45 * heat).astype(np.uint8))


def _labelled(cell: Image.Image | None, text: str) -> Image.Image:
    height = TEXT_HEIGHT + (cell.height if cell else 0)
    picture = Image.new("RGB", (CELL_WIDTH, height), "white")
    ImageDraw.Draw(picture).text((1, 2), text, fill="black", font=ImageFont.load_default(12))
    if cell:
        picture.paste(cell, (0, TEXT_HEIGHT))
    return picture
