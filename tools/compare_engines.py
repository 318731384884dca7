"""A recognizer beside the engines that people use instead: accuracy and images a second.

python3 tools/compare_engines.py --data my_words

Reads a labelled folder (a gt.txt with path, tab, label), or every such folder in one, with our
model (the shipped weights, or --model_dir), with Tesseract (the command `tesseract`; Debian:
apt-get install tesseract-ocr) and with RapidOCR's recognizer (pip install rapidocr, which brings
its model). Each runs in a process of its own; they take turns, and speeds are medians of the
rounds, from files to text. Accuracy is without case, in letters and digits. Images that can't be
decoded are left out.
"""

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from console.argument_types import file_to_write, positive
from console.markdown_table import markdown
from console.script_end import fail
from loading.preprocessing import decode_image
from reading import Reader, open_image
from records.lmdb_file import DataError
from tools.support.bench_process import (
    DTYPES,
    BenchProcess,
    interrupted_once,
    save_rows,
    serve,
    take_turns,
)
from tools.support.labelled_words import is_right, labelled_sets, readable

TESSERACT_WORD = "5"  # level of a word's line in its table

Read = Callable[[Sequence[Path]], list[str]]


@dataclass(frozen=True)
class Row:
    """One engine's figures.

    Attributes:
        engine: its name and version.
        accuracy: percent of the images read right, by set.
        total: of all images.
        images_per_s: median over the rounds.

    """

    engine: str
    accuracy: dict[str, float]
    total: float
    images_per_s: float


class MissingEngineError(ValueError):
    """An engine that is not installed; the message says how it would be."""


def load_ours(dtype: str) -> Callable[[str, int], Read]:
    """Loads our model for a type."""

    def load(weights: str, batch_size: int) -> Read:
        reader = Reader.load(weights or None, "cpu", batch_size, DTYPES[dtype])
        # As data sets are read: not turned by what a camera noted.
        return lambda files: [reading.text for reading in reader.stream(map(decode_image, files))]

    return load


def load_tesseract(weights: str, batch_size: int) -> Read:
    """Tesseract on a list of files, each a single word (page segmentation mode 8).

    It numbers pages, of which some files have several, and can't open all formats; so images of
    other formats than PNG and JPEG are given to it as PNG.
    """
    folder = TemporaryDirectory()
    copies: dict[Path, Path] = {}

    def plain_file(file: Path) -> Path:
        if file.suffix.lower() in (".png", ".jpg", ".jpeg"):
            return file.resolve()
        if file not in copies:
            copies[file] = Path(folder.name) / f"{len(copies)}.png"
            open_image(file).convert("RGB").save(copies[file])
        return copies[file]

    def read(files: Sequence[Path]) -> list[str]:
        with NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as names:
            names.write("".join(f"{plain_file(file)}\n" for file in files))
            names.flush()
            command = ["tesseract", names.name, "stdout", "--psm", "8", "tsv"]
            ran = subprocess.run(command, capture_output=True, check=False)
        if ran.returncode:
            said = ran.stderr.decode("utf-8", errors="replace").strip()
            raise SystemExit(f"tesseract failed with status {ran.returncode}: {said[-1000:]}")
        texts = [""] * len(files)
        for line in ran.stdout.decode("utf-8", errors="replace").splitlines()[1:]:
            level, page, *_, text = line.split("\t")
            if level == TESSERACT_WORD:
                texts[int(page) - 1] += text
        return texts

    return read


def load_rapidocr(weights: str, batch_size: int) -> Read:
    """RapidOCR's recognizer alone, image by image, as its call does."""
    from rapidocr import RapidOCR  # an engine of its own choice of models

    engine = RapidOCR(params={"Global.log_level": "error"})

    def read(files: Sequence[Path]) -> list[str]:
        found = (engine(file, use_det=False, use_cls=False, use_rec=True) for file in files)
        return ["".join(result.txts or ()) for result in found]

    return read


def tesseract_name() -> str:
    """Name and version, of the command's first line."""
    if shutil.which("tesseract") is None:
        raise MissingEngineError(
            "the command tesseract is not here: install Tesseract (Debian: apt-get install "
            "tesseract-ocr), or leave it out of --engines."
        )
    ran = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=False)
    return (ran.stdout or ran.stderr).splitlines()[0]


def rapidocr_name() -> str:
    """Name and version of the package."""
    if importlib.util.find_spec("rapidocr") is None:
        raise MissingEngineError(
            "the package rapidocr is not here: pip install rapidocr, or leave it out of --engines."
        )
    return f"rapidocr {version('rapidocr')}"


ENGINES: dict[str, tuple[Callable[[], str], Callable[[str, int], Read]]] = {
    "ours": (lambda: "ours, fp32", load_ours("fp32")),
    "ours_bf16": (lambda: "ours, bf16", load_ours("bf16")),
    "tesseract": (tesseract_name, load_tesseract),
    "rapidocr": (rapidocr_name, load_rapidocr),
}


def work(engine: str, weights: str, batch_size: str, list_of_files: str) -> None:
    """An engine's process: reads all files, again and again."""
    files = [Path(f) for f in json.loads(Path(list_of_files).read_text(encoding="utf-8"))]
    _, load = ENGINES[engine]
    try:
        read = load(weights, int(batch_size))
    except (ValueError, OSError) as error:  # of our weights
        fail(error)
    read(files[: int(batch_size)])  # what the first call sets up is not its speed

    def read_all() -> dict[str, Any]:
        started = time.perf_counter()
        texts = read(files)
        return {"seconds": time.perf_counter() - started, "texts": texts}

    serve(read_all)


def measure(options: argparse.Namespace, sets: Mapping[str, list[tuple[Path, str]]]) -> list[Row]:
    """Rows of all engines."""
    names = {engine: ENGINES[engine][0]() for engine in options.engines}
    files = [str(file) for images in sets.values() for file, _ in images]
    with NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as listed:
        json.dump(files, listed)
        listed.flush()
        arguments = [options.model_dir or "", options.batch_size, listed.name]
        processes = [BenchProcess(__file__, [e, *arguments]) for e in options.engines]
        answers, _ = take_turns(processes, options.rounds, "all engines")
    if not answers[0]:
        raise RuntimeError("Nothing was measured.")
    return [
        Row(
            names[engine],
            *accuracies(own[-1]["texts"], sets),
            images_per_s=len(files) / statistics.median(answer["seconds"] for answer in own),
        )
        for engine, own in zip(options.engines, answers, strict=True)
    ]


def accuracies(
    texts: Sequence[str], sets: Mapping[str, Sequence[tuple[Path, str]]]
) -> tuple[dict[str, float], float]:
    """Percent of the images read right, by set and of all."""
    remaining = iter(texts)
    right = {
        name: [is_right(next(remaining), label) for _, label in images]
        for name, images in sets.items()
    }
    every = [one for own in right.values() for one in own]
    return {n: 100 * sum(own) / len(own) for n, own in right.items()}, 100 * sum(every) / len(every)


def main() -> None:
    """Parse, read, print."""
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        help="folder with a gt.txt, or a folder of such folders",
    )
    parser.add_argument("--model_dir", help="weights (default: the shipped ones)")
    parser.add_argument(
        "--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES), help="default: all"
    )
    parser.add_argument(
        "--batch_size", type=positive, default=32, help="of our model (default: 32)"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="default: 3")
    parser.add_argument("--json", type=file_to_write, help="also write the rows to this file")
    options = parser.parse_args()
    try:
        sets = readable(labelled_sets(options.data))
        rows = measure(options, sets)
    except (ValueError, OSError, DataError, RuntimeError) as error:
        fail(error)
    header = ["engine", *(f"{n} ({len(images)})" for n, images in sets.items()), "all", "images/s"]
    cells = [
        [
            row.engine,
            *(f"{value:.1f}" for value in row.accuracy.values()),
            *(f"{row.total:.1f}", f"{row.images_per_s:.1f}"),
        ]
        for row in rows
    ]
    print(markdown(header, cells))
    if options.json:
        try:
            save_rows(options.json, rows=rows)
        except OSError as error:
            fail(error)


if __name__ == "__main__":
    with interrupted_once():
        main()
