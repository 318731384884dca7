"""How many images a second a core loads, stage by stage, and how many cores a GPU then needs.

python3 tools/bench_data.py --data data/training/MJ --gpu_rate 5000

Stages are cumulative: read, decode, resize, randaug (at the default settings), collate. "ours" is
what training does; "plain" is lmdb, Pillow and torchvision as one would write it first (its
RandAugment has other, lighter operations). Both run on one core in this process, taking turns;
medians of the rounds, by processor time. In --json the plain stages are named "plain read" and so
on. Last, the rendered stream (--select_data synthetic), collated.
"""

import argparse
import io
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import lmdb
import torch
from PIL import Image
from torchvision.transforms import v2 as transforms

from augmentation import Augmenter
from console.argument_types import above_zero, file_to_write, positive
from console.markdown_table import markdown
from console.progress import RunLog
from console.script_end import fail
from dataset import ImageFormat, TrainingDataset, collate
from engine.learning_options import AUGMENTATION_DEFAULTS
from loading.preprocessing import UnreadableImageError, decode_image, resize_image
from loading.sources import RenderedSource, Source
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet, close_environments, find_lmdbs
from records.lmdb_writer import LmdbWriter
from synthetic import LEVELS, StreamSettings, find_faces
from synthetic.parallel import RenderPool
from synthetic.renderer import Renderer
from system.whole_file import write_text
from text import CHARSET_PRESETS, Charset, build_codecs

BATCH = 100
FORMAT = ImageFormat()
INTACT = AUGMENTATION_DEFAULTS["intact_prob"]
UNAUGMENTED = "collate without randaug"
PLAIN = "plain "
Work = Callable[[Sequence[int]], Any]


@dataclass(frozen=True)
class Row:
    """A stage's figure.

    Attributes:
        stage: up to which a record is brought; all of the stages before are part of it, but for
            `UNAUGMENTED`, which leaves out `randaug`. The plain path's begin with `PLAIN`.
        images_per_s_core: median over the rounds.

    """

    stage: str
    images_per_s_core: float


@contextmanager
def our_stages(opened: LmdbSet) -> Iterator[dict[str, Work]]:
    """What training does with a batch of records, up to each stage."""
    source = Source("data", [opened])
    codecs = build_codecs(CHARSET_PRESETS["36"], 25, ("char", "bpe", "wp"))
    plain = TrainingDataset([source], FORMAT, None)
    augmented = TrainingDataset([source], FORMAT, Augmenter(intact_probability=INTACT))

    def read(indices: Sequence[int]) -> list[bytes]:
        return [opened.read(int(opened.numbers[i]))[0] for i in indices]

    def decode(indices: Sequence[int]) -> list:
        return [decode_image(image) for image in read(indices)]

    def resize(indices: Sequence[int]) -> list:
        size = FORMAT.height, FORMAT.width, FORMAT.keep_ratio
        return [resize_image(image, *size) for image in decode(indices)]

    def samples(dataset: TrainingDataset, indices: Sequence[int]) -> list:
        return [dataset[(0, i, 0)] for i in indices]

    yield {
        "read": read,
        "decode": decode,
        "resize": resize,
        UNAUGMENTED: lambda indices: collate(samples(plain, indices), FORMAT, codecs=codecs),
        "randaug": partial(samples, augmented),
        "collate": lambda indices: collate(samples(augmented, indices), FORMAT, codecs=codecs),
    }
    close_environments()  # LMDB refuses a file that is open already


@contextmanager
def plain_stages(opened: LmdbSet) -> Iterator[dict[str, Work]]:
    """The same with lmdb, Pillow and torchvision."""
    shape = transforms.Resize((FORMAT.height, FORMAT.width), transforms.InterpolationMode.BICUBIC)
    augment = transforms.RandomApply([transforms.RandAugment(num_ops=3)], p=1 - INTACT)
    to_tensor = transforms.PILToTensor()

    def read(indices: Sequence[int]) -> list[bytes]:
        return [transaction.get(b"image-%09d" % opened.numbers[i]) for i in indices]

    def decode(indices: Sequence[int]) -> list[Image.Image]:
        return [Image.open(io.BytesIO(image)).convert("RGB") for image in read(indices)]

    def resize(indices: Sequence[int]) -> list:
        return [shape(image) for image in decode(indices)]

    def randaug(indices: Sequence[int]) -> list:
        return [augment(image) for image in resize(indices)]

    def stack(stage: Work, indices: Sequence[int]) -> torch.Tensor:
        return torch.stack([to_tensor(image) for image in stage(indices)])

    with (
        lmdb.open(str(opened.path), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        yield {
            "read": read,
            "decode": decode,
            "resize": resize,
            UNAUGMENTED: partial(stack, resize),
            "randaug": randaug,
            "collate": partial(stack, randaug),
        }


def measure(opened: LmdbSet, images: int, rounds: int, log: RunLog) -> list[Row]:
    """Figures of both paths.

    Args:
        opened: the records; they are taken from the first on, again and again.
        images: a stage and round.
        rounds: of which the median is taken.
        log: takes a line a round.

    """
    batches = [
        [i % len(opened) for i in range(start, min(start + BATCH, images))]
        for start in range(0, images, BATCH)
    ]
    rates: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for prefix, opening in (("", our_stages), (PLAIN, plain_stages)):
            with opening(opened) as stages:
                for stage, work in stages.items():
                    started = time.process_time()
                    for indices in batches[: 1 if number == 0 else None]:
                        work(indices)
                    rate = images / (time.process_time() - started)
                    if number:  # the first one warms up
                        rates.setdefault(prefix + stage, []).append(rate)
        if number:
            log(f"round {number} of {rounds}")
    return [Row(stage, round(statistics.median(found), 1)) for stage, found in rates.items()]


def measure_rendering(images: int, rounds: int) -> list[Row]:
    """Figures of the rendered stream, by level."""
    rows = []
    for level in LEVELS:
        settings = StreamSettings(level, packaged_fonts_only=True)
        stream = RenderedSource(settings, LabelFilter(Charset.load("36"), 25), seed=0)
        dataset = TrainingDataset([stream], FORMAT, None)
        rates = []
        for number in range(rounds + 1):
            started = time.process_time()
            # Each round has words of its own; the first fills the glyph cache, as a run soon has.
            samples = [dataset[(0, number * images + i, 0)] for i in range(images)]
            collate(samples, FORMAT)
            rates.append(images / (time.process_time() - started))
        rows.append(Row(f"render {level}", round(statistics.median(rates[1:]), 1)))
    return rows


def report(rows: Sequence[Row], gpu_rates: Sequence[float]) -> str:
    """Both paths as a table, and what a GPU needs."""
    found = {row.stage: row.images_per_s_core for row in rows}
    table = []
    for stage, ours in found.items():
        if stage.startswith(PLAIN):
            continue
        plain = found.get(PLAIN + stage)
        compared = [f"{plain:,.0f}", f"{ours / plain:.2f}"] if plain else ["", ""]
        table.append([stage, f"{ours:,.0f}", *compared])
    lines = [markdown(["up to", "ours, images/s a core", "plain", "ours / plain"], table)]
    without, augmented = (found[stage] for stage in (UNAUGMENTED, "collate"))
    lines += [
        f"A GPU that trains on {rate:,.0f} images/s needs {math.ceil(rate / augmented)} such "
        f"core(s) (--workers) with RandAug, {math.ceil(rate / without)} without."
        for rate in gpu_rates
    ]
    return "\n".join(lines)


def rendered(folder: Path, count: int) -> Path:
    """Words of the normal level to load where no data is given."""
    path = folder / "words"
    renderer = Renderer("normal", fonts=find_faces(system_fonts=False))
    with LmdbWriter(path) as writer, RenderPool(renderer, 1) as pool:
        for record in pool.records(0, count):
            writer.write(record.image, record.text)
    return path


def usable(opened: LmdbSet) -> LmdbSet:
    """The set, if its first image can be read: a bench of losses would tell nothing."""
    number = int(opened.numbers[0])
    try:
        decode_image(opened.read(number)[0] or b"")
    except UnreadableImageError as error:
        raise DataError(f"Record {number} of {opened.path} can't be read ({error}).") from None
    return opened


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=Path, help="folder with an LMDB, the first of several (default: rendered)"
    )
    parser.add_argument(
        "--images",
        type=positive,
        default=2000,
        help="images for each stage in each round (default: 2000)",
    )
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument(
        "--gpu_rate",
        type=above_zero,
        nargs="*",
        default=[1000.0, 5000.0],
        help="images/s that a GPU trains on; its cores are counted (default: 1000 5000)",
    )
    parser.add_argument("--json", type=file_to_write, help="file for the figures (default: none)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    log = RunLog()
    with tempfile.TemporaryDirectory() as folder:
        try:
            place = find_lmdbs(options.data)[0] if options.data else None
            place = place or rendered(Path(folder), options.images)
            opened = usable(LmdbSet(place, LabelFilter(Charset.load("36"), 25), log=log))
        except DataError as error:
            fail(error)
        rows = measure(opened, options.images, options.rounds, log)
    rows += measure_rendering(options.images, options.rounds)
    log(report(rows, options.gpu_rate))
    if options.json:
        write_text(options.json, json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
