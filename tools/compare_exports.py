"""What each form of a checkpoint costs and changes: size, images a second, accuracy.

python3 tools/compare_exports.py --model_dir best_accuracy.pth --data my_words

Writes every form that the model can have into a temporary folder, and reads a labelled folder (a
gt.txt with path, tab, label), or all that are in it, with each: in a process of its own, the
processes taking turns. Speeds are medians of the rounds, from files to text. Accuracy is that of
the fused reading, without case and punctuation; labels with other characters count by what is left
of them.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from console.argument_types import file_to_write, positive
from console.markdown_table import markdown
from console.script_end import fail, interrupted
from engine.exported_forms import FORMS, compare, megabytes
from loading.preprocessing import decode_image
from models.checkpoint import load_model
from reading import Reader, Reading
from reading.weights import find_weights
from text import GranularityReading
from tools.support.bench_process import (
    DTYPES,
    BenchProcess,
    interrupted_once,
    save_rows,
    serve,
    take_turns,
)
from tools.support.labelled_words import is_right, labelled_sets, readable

HEADER = (
    *("form", "MB", "images/s", "accuracy %", "change"),
    *("readings changed", "texts changed", "confidence change"),
)


@dataclass(frozen=True)
class Row:
    """One form's figures.

    Attributes:
        megabytes: of its file or folder, in 10^6 bytes.
        images_per_s: median over the rounds.
        accuracy: percent of the readable images, fused.
        change: of it, in points, to the checkpoint in fp32.
        readings_changed: images whose fused text is another than the checkpoint's.
        texts_changed: fused and of each granularity, those that are.
        confidence_change: largest difference of the confidences of equal texts.

    """

    form: str
    megabytes: float
    images_per_s: float
    accuracy: float
    change: float
    readings_changed: int
    texts_changed: int
    confidence_change: float


@dataclass(frozen=True)
class Candidate:
    """A form to measure.

    Attributes:
        name: for people.
        path: its weights.
        dtype: fp32 or bf16 for torch; exported for ONNX, which computes as it was exported.

    """

    name: str
    path: Path
    dtype: str


def read_files(path: str, dtype: str, batch_size: str, list_of_files: str) -> None:
    """A form's process: reads all images of a list, again and again."""
    files = [Path(f) for f in json.loads(Path(list_of_files).read_text(encoding="utf-8"))]
    settings = {} if dtype == "exported" else {"dtype": DTYPES[dtype]}
    reader = Reader.load(path, "cpu", int(batch_size), **settings)

    def read_all() -> dict[str, Any]:
        started = time.perf_counter()
        # As data sets are read: not turned by what a camera noted.
        readings = list(reader.stream(map(decode_image, files)))
        return {"seconds": time.perf_counter() - started, "readings": _plain(readings)}

    serve(read_all)


def _plain(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    return [
        {
            "text": own.text,
            "confidence": own.confidence,
            "granularities": {
                name: [its.text, its.confidence, its.stopped]
                for name, its in own.by_granularity.items()
            },
        }
        for own in readings
    ]


def _readings(plain: Sequence[dict[str, Any]]) -> list[Reading]:
    return [
        Reading(
            own["text"],
            own["confidence"],
            "",
            {name: GranularityReading(*its) for name, its in own["granularities"].items()},
        )
        for own in plain
    ]


def candidates(model_dir: str, folder: Path) -> list[Candidate]:
    """The checkpoint, and all its forms, newly written."""
    path = find_weights(model_dir)
    found = [Candidate(f"checkpoint, {dtype}", path, dtype) for dtype in DTYPES]
    model = load_model(path)
    for name, form in FORMS.items():
        place = folder / f"{name}{form.suffix}"
        try:
            form.write(model, place)
        except ValueError as error:  # not every form has a place for every model
            print(f"{form.name} left out: {error}", file=sys.stderr)
            continue
        found.append(Candidate(form.name, place, "exported" if name == "onnx" else "fp32"))
    return found


def measure(
    forms: Sequence[Candidate],
    images: Sequence[tuple[Path, str]],
    folder: Path,
    rounds: int,
    batch_size: int,
) -> list[Row]:
    """A row for each form; the first is what the others are compared with.

    Args:
        forms: to read with.
        images: files and labels.
        folder: for the list of the files.
        rounds: of reading all.
        batch_size: images a batch.

    """
    labels = [label for _, label in images]
    listed = folder / "files.json"
    listed.write_text(json.dumps([str(file) for file, _ in images]), encoding="utf-8")
    processes = [BenchProcess(__file__, [c.path, c.dtype, batch_size, listed]) for c in forms]
    answers, _ = take_turns(processes, rounds, "all forms", warm_up=True)
    if not answers[0]:
        raise RuntimeError("Nothing was measured.")
    readings = [_readings(own[-1]["readings"]) for own in answers]
    scores = [accuracy(own, labels) for own in readings]
    rows = []
    for number, form in enumerate(forms):
        compared = readings[0], readings[number]
        agreement = compare(*compared)
        rows.append(
            Row(
                form.name,
                megabytes(form.path),
                len(labels) / statistics.median(own["seconds"] for own in answers[number]),
                scores[number],
                scores[number] - scores[0],
                sum(one.text != own.text for one, own in zip(*compared, strict=True)),
                len(agreement.changed),
                agreement.largest,
            )
        )
    print(f"{len(labels)} images read")
    return rows


def accuracy(readings: Sequence[Reading], labels: Sequence[str]) -> float:
    """Percent of the images read right, without case and punctuation."""
    right = [is_right(own.text, label) for own, label in zip(readings, labels, strict=True)]
    return 100 * sum(right) / len(right)


def main() -> None:
    """Parse, write the forms, measure, print."""
    if sys.argv[1:2] == ["--work"]:
        read_files(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model_dir", required=True, help="checkpoint")
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        help="folder with a gt.txt, or a folder of such folders",
    )
    parser.add_argument("--batch_size", type=positive, default=32, help="default: 32")
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument("--json", type=file_to_write, help="also write the rows to this file")
    options = parser.parse_args()
    try:
        # A fault is told before forms are written.
        sets = readable(labelled_sets(options.data))
        images = [image for own in sets.values() for image in own]
        with TemporaryDirectory() as folder:
            forms = candidates(options.model_dir, Path(folder))
            rows = measure(forms, images, Path(folder), options.rounds, options.batch_size)
    except (RuntimeError, ValueError, OSError) as error:  # RuntimeError: a form's process ended
        fail(error)
    except KeyboardInterrupt:
        interrupted("nothing was measured")
    cells = [
        [
            *(r.form, f"{r.megabytes:.1f}", f"{r.images_per_s:.2f}", f"{r.accuracy:.2f}"),
            *(f"{r.change:+.2f}", str(r.readings_changed), str(r.texts_changed)),
            f"{r.confidence_change:.0e}",
        ]
        for r in rows
    ]
    print(markdown(list(HEADER), cells))
    if options.json:
        try:
            save_rows(options.json, rows=rows)
        except OSError as error:
            fail(error)


if __name__ == "__main__":
    with interrupted_once():
        main()
