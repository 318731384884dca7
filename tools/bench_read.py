"""How fast a recognizer reads: its plain path and its fast path, from JPEG bytes to text.

python3 tools/bench_read.py --models acds_str_small --batches 32

Each path runs in a process of its own; the processes take turns, and medians are reported. Weights
are random, so nothing is read right: the work is that of a trained model.
"""

import argparse
import io
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from PIL import Image

from engine.argument_types import positive
from engine.flops import count_flops
from engine.memory import peak_mib
from engine.report import markdown
from models import create_model, list_models
from models.reading_path import reading_path
from reading import Reader
from tools.bench_process import DTYPES, BenchProcess, matrix_rate, save_rows, serve

PATHS = ("plain", "fast")
SHAPE = (3, 32, 128)


@dataclass(frozen=True)
class Row:
    """One path's figures.

    Attributes:
        images_per_s: median over the rounds.
        p50_ms, p99_ms: of a batch, over all rounds.
        peak_mib: largest memory of its process.
        share: of this machine's matrix-product rate in that type, by the path's own operations.

    """

    model: str
    path: str
    dtype: str
    batch: int
    images_per_s: float
    p50_ms: float
    p99_ms: float
    peak_mib: float
    share: float


def jpegs(count: int) -> list[bytes]:
    """Images of words' sizes, with something in them to decode."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        height, width = int(random.integers(24, 64)), int(random.integers(60, 200))
        coarse = random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(coarse).resize((width, height)).save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return made


def work(model: str, path: str, dtype: str, batch: int, images: int) -> None:
    """A path's process: reads all images, again and again."""
    torch.manual_seed(0)
    reader = Reader(
        create_model(model),
        device="cpu",
        batch_size=batch,
        dtype=DTYPES[dtype],
        fast=path == "fast",
    )
    data = jpegs(images)
    reader(data[:batch])

    def read_all() -> dict[str, Any]:
        seconds = []
        for start in range(0, images, batch):
            started = time.perf_counter()
            reader(data[start : start + batch])
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds, "peak_mib": peak_mib()}

    serve(read_all)


class Worker:
    """A path's process, and its figures so far."""

    def __init__(self, model: str, path: str, dtype: str, batch: int, images: int):
        self.key = (model, path, dtype, batch)
        self._process = BenchProcess(__file__, [*self.key, images])
        self.seconds: list[float] = []
        self.totals: list[float] = []
        self.peak_mib = 0.0

    def round(self) -> None:
        """Read all images once."""
        answer = self._process.round()
        self.seconds += answer["seconds"]
        self.totals.append(sum(answer["seconds"]))
        self.peak_mib = answer["peak_mib"]

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def row(self, images: int, flops: int, rate: float) -> Row:
        """Figures of all rounds."""
        speed = images / statistics.median(self.totals)
        milliseconds = 1000 * np.array(self.seconds)
        return Row(
            *self.key,
            images_per_s=speed,
            p50_ms=float(np.percentile(milliseconds, 50)),
            p99_ms=float(np.percentile(milliseconds, 99)),
            peak_mib=self.peak_mib,
            share=speed * flops / rate,
        )


def bench(options: argparse.Namespace) -> list[Row]:
    """Rows of all models, batch sizes, types and paths."""
    rates = {name: matrix_rate(dtype) for name, dtype in DTYPES.items()}
    rows = []
    for name in options.models:
        model = create_model(name).eval()
        flops = {
            "plain": count_flops(model, SHAPE),
            "fast": count_flops(reading_path(model), SHAPE),
        }
        for batch in options.batches:
            images = max(options.images // batch, 1) * batch
            workers = [
                Worker(name, path, dtype, batch, images) for dtype in DTYPES for path in PATHS
            ]
            for number in range(options.rounds):
                for worker in workers:
                    worker.round()
                print(f"{name}, batch {batch}: round {number + 1} of {options.rounds}", flush=True)
            for worker in workers:
                worker.close()
                _, path, dtype, _ = worker.key
                rows.append(worker.row(images, flops[path], rates[dtype]))
    return rows


def ratios(rows: list[Row]) -> str:
    """Fast against plain, in words."""
    speeds = {(r.model, r.batch, r.path, r.dtype): r.images_per_s for r in rows}
    lines = []
    for model, batch in dict.fromkeys((r.model, r.batch) for r in rows):
        speed = {path: [speeds[model, batch, path, d] for d in DTYPES] for path in PATHS}
        (plain, plain_bf16), (fast, fast_bf16) = speed["plain"], speed["fast"]
        lines.append(
            f"{model}, batch {batch}: fast / plain {fast / plain:.2f} in fp32, "
            f"{fast_bf16 / plain_bf16:.2f} in bf16; bf16 fast / fp32 plain {fast_bf16 / plain:.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    if sys.argv[1:2] == ["--work"]:
        model, path, dtype, batch, images = sys.argv[2:]
        work(model, path, dtype, int(batch), int(images))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list_models(), default=["acds_str_small"])
    parser.add_argument("--batches", nargs="+", type=positive, default=[1, 32])
    parser.add_argument("--images", type=positive, default=64, help="a round (default: 64)")
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows = bench(options)
    cells = [
        [
            *(f"{r.model}, {r.path}", r.dtype, str(r.batch), f"{r.images_per_s:.2f}"),
            *(f"{r.p50_ms:.1f}", f"{r.p99_ms:.1f}", f"{r.peak_mib:.0f}", f"{r.share:.0%}"),
        ]
        for r in rows
    ]
    header = ["path", "type", "batch", "images/s", "p50 ms", "p99 ms", "peak MiB", "share"]
    print(markdown(header, cells))
    print(ratios(rows))
    if options.json:
        save_rows(options.json, rows)


if __name__ == "__main__":
    main()
