"""A contact sheet: every operation at every magnitude.

    python3 -m augmentation.sheet assets/augmentation.png a.png b.png c.png

The first row shows the images themselves; each other row is an operation, its columns are
magnitude 0, 1, 2 of the first image, then of the second, and so on. Without images a word drawn
for the purpose stands in. ``--core-area`` tints a box that stands for the core area, so that one
can see whether it stays on its letters.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import OPERATIONS
from .operation import MAGNITUDES

WIDTH, HEIGHT = 128, 32
GAP = 4
LABEL_WIDTH = 136
TINT = np.uint8((255, 0, 0))


def draw_sheet(
    images: list[np.ndarray], seed: int = 0, show_core_area: bool = False
) -> Image.Image:
    """Draw the sheet of uint8 ``[HEIGHT, WIDTH, 3]`` images."""
    rows = len(OPERATIONS) + 1
    columns = len(images) * len(MAGNITUDES)
    size = (LABEL_WIDTH + columns * (WIDTH + GAP), rows * (HEIGHT + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for row, name in enumerate(("the image itself", *OPERATIONS)):
        top = GAP + row * (HEIGHT + GAP)
        pen.text((GAP, top + 8), name, fill="black", font=font)
        for column in range(columns):
            index, magnitude = divmod(column, len(MAGNITUDES))
            tile, core_area = images[index], _boxes()
            if name in OPERATIONS:
                rng = np.random.default_rng((seed, row, column))
                tile, core_area = OPERATIONS[name](tile, core_area, magnitude, rng)
            if show_core_area:
                tile = np.where(core_area[..., None] > 0, tile // 2 + TINT // 2, tile)
            sheet.paste(Image.fromarray(tile), (LABEL_WIDTH + column * (WIDTH + GAP), top))
    return sheet


def _boxes() -> np.ndarray:
    """Four boxes in a row, uint8 ``[HEIGHT, WIDTH]``."""
    boxes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for left in range(12, WIDTH, 32):
        boxes[10:22, left : left + 8] = 1
    return boxes


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _drawn_word() -> np.ndarray:
    image = Image.new("RGB", (WIDTH, HEIGHT), (40, 90, 140))
    font = ImageFont.load_default(30)
    pen = ImageDraw.Draw(image)
    pen.text((WIDTH / 2, HEIGHT / 2), "Sample", fill=(250, 220, 150), font=font, anchor="mm")
    return np.asarray(image)


def main() -> None:
    """Read the command line, write the sheet."""
    parser = argparse.ArgumentParser(
        prog="python3 -m augmentation.sheet",
        description="Draw every augmentation operation at every magnitude.",
    )
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("images", type=Path, nargs="*", help="word images to show it on")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--core-area", action="store_true", help="tint boxes that move along")
    args = parser.parse_args()
    missing = [str(path) for path in args.images if not path.is_file()]
    if missing:
        parser.error(f"there is no image {', '.join(missing)}")
    images = [_read(path) for path in args.images] or [_drawn_word()]
    draw_sheet(images, args.seed, args.core_area).save(args.out)
    print(f"{args.out}: {len(OPERATIONS)} operations, {len(images)} image(s)")


if __name__ == "__main__":
    main()
