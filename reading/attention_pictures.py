"""Pictures of where a recognizer looked: core areas, guided attention, and every position."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from loading.preprocessing import resize_image
from models import ModelConfig
from text import Codec, GranularityReading, Reading

CELL_WIDTH, CELL_HEIGHT = 256, 64
MARGIN = 6
TEXT_HEIGHT = 18
FONT_SIZE = 12
MAX_POSITIONS = 12
A3_TITLES = {"char": "character A3", "bpe": "BPE A3", "wp": "WordPiece A3"}
ATD_TITLE = "ATD weights (the same for every image)"


def attention_picture(
    image: Image.Image, reading: Reading, codecs: Mapping[str, Codec], config: ModelConfig
) -> Image.Image:
    """The image beside the model's maps, and below, where every granularity looked.

    The first row is the image and, where the model has them, its core-area map (from blue for 0 to
    red for 1) and its guided attention (from blue for the smallest value to red for the largest;
    its title says which they are). Below, each picture is a position of the reading (the last is
    stop), with the piece that was read there and its probability; red is the position's largest
    value.

    Args:
        image: what was read, of any size.
        reading: of that image, with attention.
        codecs: by granularity.
        config: the model's; says which decoder it has, and which part of the maps the image covers.

    """
    height, width = config.image_height, config.image_width
    seen = resize_image(image, height, width, config.keep_ratio).width / width
    draw = partial(overlay, image, seen=seen)
    ending = f"  {reading.confidence:.3f}  ({reading.granularity})"
    head = [_labelled(_cell(image), reading.text, ending), *_maps(reading, draw)]
    # A decoder alone spreads its positions over the columns that the maps open.
    columns = max(1, len(head) // len(reading.attention))
    blocks = []
    for name, attention in reading.attention.items():
        title = ATD_TITLE if config.family == "acds-str" else A3_TITLES[name]
        own = reading.by_granularity[name]
        cells = _positions(own, attention, codecs[name], draw)
        rows = [_row(cells[i : i + columns]) for i in range(0, len(cells), columns)]
        word = _labelled(None, own.text, f"  {own.confidence:.3f}")
        blocks.append(_column([_labelled(None, title), word, *rows]))
    return ImageOps.expand(_column([_row(head), _row(blocks)], MARGIN), MARGIN, "white")


def overlay(image: Image.Image, values: np.ndarray, seen: float = 1.0) -> Image.Image:
    """A map over an image, from blue (0 and less) to red (1 and more).

    Args:
        image: of any size.
        values: float [rows, columns], of the model's whole input.
        seen: share of the columns that the image covers, in (0, 1]; the others are padding on its
            right, and are left out.

    """
    rows, columns = values.shape
    enlarged = Image.fromarray(values.astype(np.float32)).resize(
        (CELL_WIDTH, CELL_HEIGHT), Image.Resampling.BICUBIC, box=(0, 0, columns * seen, rows)
    )
    levels = (np.clip(np.asarray(enlarged), 0, 1) * 255).astype(np.uint8)
    heat = cv2.applyColorMap(levels, cv2.COLORMAP_JET)[:, :, ::-1]
    return Image.fromarray((0.55 * np.asarray(_cell(image)) + 0.45 * heat).astype(np.uint8))


def _maps(reading: Reading, draw: Callable[[np.ndarray], Image.Image]) -> list[Image.Image]:
    """What guided the encoder, as far as there is any."""
    cells = []
    if reading.core_area is not None:
        cells.append(_labelled(draw(reading.core_area), "core areas"))
    if (guided := reading.guided_attention) is not None:
        low, high = float(guided.min()), float(guided.max())
        title = f"guided attention, {low:.3f} to {high:.3f}"
        cells.append(_labelled(draw((guided - low) / max(high - low, 1e-12)), title))
    return cells


def _positions(
    own: GranularityReading,
    attention: np.ndarray,
    codec: Codec,
    draw: Callable[[np.ndarray], Image.Image],
) -> list[Image.Image]:
    cells = []
    pieces = [codec.decode([i]) or "·" for i in own.ids] + ["(stop)"] * own.stopped
    for position, (piece, probability) in enumerate(
        zip(pieces[:MAX_POSITIONS], own.probabilities, strict=False), start=1
    ):
        cell = draw(attention[position] / max(float(attention[position].max()), 1e-12))
        cells.append(_labelled(cell, f"{position}: {piece}", f"  {probability:.3f}"))
    if len(pieces) > MAX_POSITIONS:
        cells.append(_labelled(None, f"and {len(pieces) - MAX_POSITIONS} more positions"))
    return cells


def _cell(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((CELL_WIDTH, CELL_HEIGHT), Image.Resampling.BICUBIC)


def _labelled(cell: Image.Image | None, text: str, ending: str = "") -> Image.Image:
    """A cell below its text, which is cut before its ending where the line is too long."""
    font = ImageFont.load_default(FONT_SIZE)
    # Subword pieces may be line breaks, which one line can't show.
    text = "".join(c if c.isprintable() else "·" for c in text)
    line = text + ending
    while text and font.getlength(line) > CELL_WIDTH - 2:
        text = text[:-1]
        line = f"{text}…{ending}"
    picture = Image.new("RGB", (CELL_WIDTH, TEXT_HEIGHT), "white")
    ImageDraw.Draw(picture).text((1, 2), line, fill="black", font=font)
    return _column([picture, cell]) if cell else picture


def _row(pictures: Sequence[Image.Image]) -> Image.Image:
    width = sum(p.width for p in pictures) + MARGIN * (len(pictures) - 1)
    row = Image.new("RGB", (width, max(p.height for p in pictures)), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + MARGIN
    return row


def _column(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    height = sum(p.height for p in pictures) + gap * (len(pictures) - 1)
    column = Image.new("RGB", (max(p.width for p in pictures), height), "white")
    top = 0
    for picture in pictures:
        column.paste(picture, (0, top))
        top += picture.height + gap
    return column
