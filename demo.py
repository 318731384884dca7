"""Read the words in images, and draw where the recognizer looked.

python3 demo.py --model_dir best_accuracy.pth --demo_imgs demo_imgs/
python3 demo.py --model_dir best_accuracy.pth --web
"""

import csv
import io
import json
import os
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from console.listing import first_of
from console.markdown_table import markdown
from console.script_end import fail, interrupted
from engine.model_options import check_against_checkpoint
from engine.reading_options import check_demo, refuse_overwriting
from reading import IMAGE_SUFFIXES, Reader, Reading, UnreadableImageError, find_images, open_image
from reading.attention_pictures import attention_picture
from reading.images import SAMPLES, shown_path
from reading.weights import find_weights
from system.whole_file import write_text
from utils import get_args

PICTURE = "_attention.png"
LONGEST_NAME = 200  # bytes of a picture's; file systems take 255


def read_all(options: Namespace, reader: Reader, files: list[Path]) -> Iterator[Reading]:
    """Readings of all files; draws the attention on the way, and reports unreadable ones."""
    folder = None if options.no_attention else attention_folder(options)
    if folder is not None and not reader.recognition.has_maps:
        print("no attention pictures: an ONNX file only reads", file=sys.stderr)
        folder = None
    names = picture_names(files)
    draws, pictures = folder is not None, 0
    for file, reading in zip(files, reader.stream(files, draws, keep_errors=True), strict=True):
        if reading.error is not None:
            print(f"unreadable: {reading.error}", file=sys.stderr)
            yield reading
            continue
        yield replace(reading, attention=None, core_area=None, guided_attention=None)
        if draws:
            try:
                picture = attention_picture(open_image(file), reading, reader.codecs, reader.config)
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / names[file])
                pictures += 1
            except (OSError, UnreadableImageError) as error:
                more = "more " if pictures else ""
                print(f"no {more}attention pictures: {error}; see --attention_dir", file=sys.stderr)
                draws = False
    if pictures:
        print(f"attention pictures: {folder}")


def attention_folder(options: Namespace) -> Path:
    """--attention_dir, or `attens` beside the images."""
    if options.attention_dir:
        return Path(options.attention_dir)
    place = Path(options.demo_imgs)
    while not place.is_dir():  # a file, or a part of a glob
        place = place.parent
    return place / "attens"


def picture_names(files: list[Path]) -> dict[Path, str]:
    """A name for each file's picture; with the suffix and folders where stems are equal."""
    stems = Counter(file.stem for file in files)
    names: dict[Path, str] = {}
    taken = set()
    for file in files:
        name = file.stem if stems[file.stem] == 1 else "_".join(file.parts).replace(os.sep, "")
        name = os.fsdecode(os.fsencode(name)[-LONGEST_NAME:])
        numbered, number = name, 1
        while numbered in taken:  # of a/b.jpg and a_b.jpg, for one
            number += 1
            numbered = f"{name}-{number}"
        taken.add(numbered)
        names[file] = numbered + PICTURE
    return names


def without_pictures(options: Namespace, files: list[Path]) -> list[Path]:
    """What a glob matches but for the pictures that a run before has drawn."""
    place = attention_folder(options).resolve()
    drawn = {f for f in files if f.name.endswith(PICTURE) and f.resolve().parent == place}
    if not drawn or len(drawn) == len(files):  # where there is nothing else, they are meant
        return files
    print(f"left out: {len(drawn)} attention pictures in {place}", file=sys.stderr)
    return [file for file in files if file not in drawn]


def say_passed_over(place: Path) -> None:
    """Files of a folder that are not taken for images."""
    if place.is_dir():
        others = [
            shown_path(p.name)
            for p in sorted(place.iterdir())
            if p.is_file() and p.suffix.lower() not in IMAGE_SUFFIXES
        ]
        if others:
            shown = _on_one_line(first_of(others))
            print(f"passed over, by their suffix no images: {shown}", file=sys.stderr)


def as_row(reading: Reading, granularities: list[str]) -> dict[str, str | float | None]:
    """A reading as plain values: fused first, then every granularity.

    Of a file that could not be read, all but its path and the error are None.
    """
    if reading.error is not None:
        names = ["text", "confidence", "granularity"]
        names += [column for name in granularities for column in (name, f"{name}_confidence")]
        return {"file": shown_path(reading.source), **dict.fromkeys(names), "error": reading.error}
    row = {
        "file": shown_path(reading.source),
        "text": reading.text,
        "confidence": round(reading.confidence, 6),
        "granularity": reading.granularity,
    }
    for name, own in reading.by_granularity.items():
        row |= {name: own.text, f"{name}_confidence": round(own.confidence, 6)}
    return row | {"error": None}


def show(rows: list[dict[str, str | float | None]], granularities: list[str]) -> str:
    """Table of the readings."""
    names = [Path(row["file"]).name for row in rows]
    times = Counter(names)
    cells = [
        [
            _on_one_line(name if times[name] == 1 else row["file"]),
            f"{row['text']} {row['confidence']:.3f}",
            *(f"{row[name]} {row[f'{name}_confidence']:.3f}" for name in granularities),
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    return markdown(["image", "fused", *granularities], cells)


def _on_one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


def main() -> None:
    """Parse, and read files or serve the page."""
    options = get_args("demo")
    try:
        check_demo(options)
        (serve_page if options.web else read_files)(options)
    except (ValueError, OSError) as error:  # ValueError: of weights, options or a device
        fail(error)
    except KeyboardInterrupt:
        interrupted("nothing was read")


def load_reader(options: Namespace) -> Reader:
    """The reader that the options ask for."""
    reader = Reader.load(
        options.model_dir,
        options.device,
        options.batch_size,
        image_height=options.imgH,
        image_width=options.imgW,
        keep_ratio=options.PAD,
    )
    check_against_checkpoint(options, reader.config)
    return reader


def read_files(options: Namespace) -> None:
    """Read, print, write; of what was read, where Ctrl-C ends it."""
    files = without_pictures(options, find_images(options.demo_imgs))
    outputs = {"csv": options.csv, "json": options.json}
    refuse_overwriting(outputs, [*files, find_weights(options.model_dir)])
    say_passed_over(Path(options.demo_imgs))
    reader = load_reader(options)
    rows, stopped = [], False
    granularities = list(reader.codecs)
    try:
        for reading in read_all(options, reader, files):
            rows.append(as_row(reading, granularities))
    except KeyboardInterrupt:
        stopped = True
    read = [row for row in rows if row["error"] is None]
    if read:
        print(show(read, granularities))
    if rows:
        write_files(options, rows)
    if not read and not stopped:
        raise UnreadableImageError(f"none of the {len(files)} files can be read")
    if len(read) < len(rows):
        unread = len(rows) - len(read)
        print(f"{unread:,} of {len(rows):,} files could not be read", file=sys.stderr)
    if stopped:
        interrupted(f"{len(read):,} of {len(files):,} images are read")


def serve_page(options: Namespace) -> None:
    """Answer browsers until Ctrl-C."""
    # Imported here: reading files needs no server.
    from web.server import PORT, listen, serve

    images = find_images(options.demo_imgs or SAMPLES)
    samples = [file for file in images if file.suffix.lower() in IMAGE_SUFFIXES]  # of a glob
    # Before the model, which takes a while to load.
    with listen(PORT if options.port is None else options.port) as listener:
        reader = load_reader(options)
        model = Path(options.model_dir).name if options.model_dir else "shipped weights"
        serve(listener, reader, model, samples)


def write_files(options: Namespace, rows: list[dict[str, str | float | None]]) -> None:
    """The readings as --csv and --json ask."""
    if options.csv:
        table = io.StringIO()
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        write_text(options.csv, table.getvalue())
    if options.json:
        write_text(options.json, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
