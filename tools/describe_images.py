"""Compares rendered word images with real ones: a table of measures, and a contact sheet.

    python3 tools/describe_images.py --real photos/ --level normal --sheet s.png
    python3 tools/describe_images.py --real photos/ --lmdb data/training/ST

Measures, each a number per image:
    brightness    mean of grey, 0 to 1
    contrast      standard deviation of grey, 0 to 1
    edge density  share of pixels, the image being scaled to a height of 32, where grey changes by
                  more than 0.05 a pixel (magnitude of Sobel's gradient), 0 to 1
    width/height  of the image as it is

Real images are those below a folder's `images/`, or below the folder where it has none. A measure
is inside when the sample's 10%, 50% and 90% quantiles lie within the real 5% to 95% range; the
exit status is 1 when one is not.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from console.argument_types import positive
from console.script_end import fail, interrupted
from records.lmdb_file import DataError, count_records, reading, stored_record
from synthetic.fonts import NoFontsError, find_faces
from synthetic.levels import LEVELS
from synthetic.renderer import Renderer

MEASURES = ("brightness", "contrast", "edge density", "width/height")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
EDGE_STEP = 0.05
SHEET_WIDTH, SHEET_ROWS, TILE_HEIGHT, TILE_WIDTH, CAPTION_HEIGHT = 1400, 9, 56, 300, 16


def sheet(text: str) -> Path:
    """A picture's path."""
    if Path(text).suffix.lower() not in IMAGE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text} must end with {' or '.join(IMAGE_SUFFIXES)}")
    return Path(text)


def get_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--real", nargs="+", type=Path, default=[], metavar="DIR", help="folders of real images"
    )
    sample = parser.add_mutually_exclusive_group(required=True)
    sample.add_argument("--lmdb", type=Path, metavar="PATH", help="describe the images of an LMDB")
    sample.add_argument("--level", choices=LEVELS, help="render images of this level")
    parser.add_argument(
        "--count", type=positive, default=1000, metavar="N", help="images (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the rendering (default: 0)")
    parser.add_argument(
        "--packaged_fonts_only", action="store_true", help="render without the system's fonts"
    )
    parser.add_argument("--sheet", type=sheet, metavar="FILE", help="write a contact sheet there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and writes the sheet; the exit status."""
    args = get_args(arguments)
    try:
        return describe(args)
    except (DataError, NoFontsError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("nothing was written")


def describe(args: argparse.Namespace) -> int:
    """Measure, print, draw; the exit status."""
    real = [image for folder in args.real for image in real_images(folder)]
    if args.real and not real:
        raise DataError(f"no images in {', '.join(map(str, args.real))}.")
    if args.lmdb:
        sample = list(lmdb_images(args.lmdb, args.count))
    else:
        faces = find_faces(system_fonts=not args.packaged_fonts_only)
        renderer = Renderer(args.level, fonts=faces, seed=args.seed)
        words = map(renderer.sample, range(args.count))
        sample = [(word.image[:, :, ::-1], word.text) for word in words]
    if not sample:
        raise DataError(f"no images in {args.lmdb}.")
    rows = compare([image for image, _ in sample], real)
    print(table(rows))
    if args.sheet:
        chosen = np.random.default_rng(0).permutation(len(real))
        write_sheet(args.sheet, sample, [(real[k], "") for k in chosen])
    return 0 if all(inside is not False for *_, inside in rows) else 1


def measure(image: np.ndarray) -> tuple[float, float, float, float]:
    """The MEASURES of an image, uint8 [H, W, 3], BGR."""
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    small = cv2.resize(grey, (max(4, round(width * 32 / height)), 32), interpolation=cv2.INTER_AREA)
    # Sobel's kernel weighs a step of 1 a pixel by 8.
    step = np.hypot(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)) / 8
    edges = float((step > EDGE_STEP).mean())
    return float(grey.mean()), float(grey.std()), edges, width / height


def compare(
    sample: list[np.ndarray], real: list[np.ndarray]
) -> list[tuple[str, list[float], list[float], bool | None]]:
    """Rows of name, the sample's 10/50/90% quantiles, the real 5/50/95%, and whether inside.

    Without real images their quantiles are empty and the last is None.
    """
    ours = np.array([measure(image) for image in sample])
    theirs = np.array([measure(image) for image in real])
    rows = []
    for column, name in enumerate(MEASURES):
        here = np.percentile(ours[:, column], (10, 50, 90)).tolist()
        if not real:
            rows.append((name, here, [], None))
            continue
        there = np.percentile(theirs[:, column], (5, 50, 95)).tolist()
        rows.append((name, here, there, there[0] <= min(here) and max(here) <= there[-1]))
    return rows


def table(rows: list[tuple[str, list[float], list[float], bool | None]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| measure | sample 10% | 50% | 90% | real 5% | 50% | 95% | inside |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, here, there, inside in rows:
        numbers = [f"{value:.3f}" for value in here + there] + [""] * (3 - len(there))
        word = {True: "yes", False: "no", None: ""}[inside]
        lines.append(f"| {name} | {' | '.join(numbers)} | {word} |")
    return "\n".join(lines)


def real_images(folder: Path) -> Iterator[np.ndarray]:
    """The readable images of a folder, uint8 [H, W, 3], BGR, sorted by name."""
    inner = folder / "images"
    for path in sorted((inner if inner.is_dir() else folder).rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            # Not by OpenCV, which can't open every path on Windows.
            image = decode(path.read_bytes())
            if image is not None:
                yield image


def decode(contents: bytes) -> np.ndarray | None:
    """An image file as uint8 [H, W, 3], BGR; None where it can't be decoded."""
    return cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_COLOR) if contents else None


def lmdb_images(path: Path, count: int) -> Iterator[tuple[np.ndarray, str]]:
    """The first `count` images, uint8 [H, W, 3], BGR, of an LMDB and their labels."""
    with reading(path) as transaction:
        for number in range(1, min(count, count_records(transaction, path)) + 1):
            record = stored_record(transaction, number)
            image = decode(record.image or b"")
            if image is not None:
                yield image, (record.label or b"").decode("utf-8", "replace")


def write_sheet(
    path: Path, sample: list[tuple[np.ndarray, str]], real: list[tuple[np.ndarray, str]]
) -> None:
    """Writes a picture: the first images of the sample with their labels, below them real ones."""
    parts = [_tiles(sample, CAPTION_HEIGHT)]
    if real:
        parts += [np.full((12, SHEET_WIDTH, 3), 255, np.uint8), _tiles(real, 4)]
    _, data = cv2.imencode(path.suffix, np.concatenate(parts))
    path.write_bytes(data.tobytes())


def _tiles(images: list[tuple[np.ndarray, str]], caption: int) -> np.ndarray:
    """Rows of images scaled to one height, uint8 [H, SHEET_WIDTH, 3]."""
    step = TILE_HEIGHT + caption
    sheet = np.full((SHEET_ROWS * step, SHEET_WIDTH, 3), 128, np.uint8)
    x = y = 0
    for image, label in images:
        width = min(TILE_WIDTH, max(12, round(image.shape[1] * TILE_HEIGHT / image.shape[0])))
        if x + width > SHEET_WIDTH:
            x, y = 0, y + step
        if y + step > len(sheet):
            break
        top = y + caption
        sheet[top : top + TILE_HEIGHT, x : x + width] = cv2.resize(image, (width, TILE_HEIGHT))
        spot, font = (x, top - 4), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(sheet, label, spot, font, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        x += width + 4
    return sheet


if __name__ == "__main__":
    sys.exit(main())
