"""Read the words in images, and draw where the recognizer looked.

python3 demo.py --model_dir best_accuracy.pth --demo_imgs demo_imgs/
"""

import csv
import json
import sys
from argparse import Namespace
from pathlib import Path

from attention_pictures import attention_picture
from engine.distributed import LaunchError, distributed
from engine.options import OptionError, check_against_checkpoint
from engine.report import markdown
from models.checkpoint import CheckpointError, load_model
from preprocessing import UnreadableImageError
from reading import Reader, find_images, open_image
from text import Reading
from utils import fail, get_args


def read_all(options: Namespace, reader: Reader, files: list[Path]) -> dict[Path, Reading]:
    """Readings by file; pictures of the attention on the way, unreadable files reported."""
    readable = {}
    for file in files:
        try:
            readable[file] = open_image(file)
        except UnreadableImageError as error:
            print(f"unreadable, left out: {error}", file=sys.stderr)
    readings = dict(zip(readable, reader.stream(readable.values(), True), strict=True))
    if not options.no_attention and readable:
        folder = attention_folder(options)
        folder.mkdir(parents=True, exist_ok=True)
        for file, reading in readings.items():
            picture = attention_picture(readable[file], reading, reader.codecs)
            picture.save(folder / f"{file.stem}_attention.png")
        print(f"attention pictures: {folder}")
    return readings


def attention_folder(options: Namespace) -> Path:
    """--attention_dir, or `attens` beside the images."""
    if options.attention_dir:
        return Path(options.attention_dir)
    place = Path(options.demo_imgs)
    return (place if place.is_dir() else place.parent) / "attens"


def as_row(file: Path, reading: Reading) -> dict[str, str | float]:
    """A reading as plain values: fused first, then every granularity."""
    row = {
        "file": str(file),
        "text": reading.text,
        "confidence": round(reading.confidence, 6),
        "granularity": reading.granularity,
    }
    for name, own in reading.by_granularity.items():
        row |= {name: own.text, f"{name}_confidence": round(own.confidence, 6)}
    return row


def show(rows: list[dict[str, str | float]], granularities: list[str]) -> str:
    """Table of the readings."""
    cells = [
        [
            Path(row["file"]).name,
            f"{row['text']} {row['confidence']:.3f}",
            *(f"{row[name]} {row[f'{name}_confidence']:.3f}" for name in granularities),
        ]
        for row in rows
    ]
    return markdown(["image", "fused", *granularities], cells)


def main() -> None:
    """Parse, read, print, write."""
    options = get_args("demo")
    try:
        files = find_images(options.demo_imgs)
        model = load_model(options.model_dir, options.imgH, options.imgW)
        check_against_checkpoint(options, model.config)
        with distributed(options.device) as process:
            reader = Reader(model, str(process.device), options.batch_size, options.PAD)
            readings = read_all(options, reader, files)
    except (CheckpointError, FileNotFoundError, LaunchError, OptionError) as error:
        fail(error)
    if not readings:
        fail(UnreadableImageError(f"none of the {len(files)} files can be read"))
    rows = [as_row(file, reading) for file, reading in readings.items()]
    print(show(rows, list(reader.codecs)))
    if options.csv:
        with Path(options.csv).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    if options.json:
        text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
        Path(options.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
