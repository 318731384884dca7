"""How fast recognizers read, from JPEG bytes to text: our plain path, our fast path, transformers.

python3 tools/bench_read.py --models mgp_str_tiny_patch4_3_32_128 --batches 1 32 128

Each path runs in a process of its own; the processes take turns, and medians are reported. Weights
are made by a formula, the same for all; for the models with wide heads, attention is sharpened and
the biases of the stop ids are raised until the median reading has 6 positions. What reading costs
if no word ever stops is measured as well. transformers' MgpstrForSceneTextRecognition, with its
processor, is measured for the models that it has; it needs the packages transformers and
sentencepiece. Stopped early, by Ctrl-C or SIGTERM, it prints what there is.
"""

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from console.argument_types import file_to_write, positive
from console.markdown_table import markdown
from engine.flops import count_flops
from models import create_model, list_models
from models.checkpoint import save_checkpoint
from models.codecs import config_codecs
from models.hugging_face import export_hugging_face
from models.mgp_str import A3Decoding
from models.reading_path import reading_path
from reading.images import model_input
from tools.support.bench_process import (
    DTYPES,
    BenchProcess,
    interrupted_once,
    matrix_rates,
    save_rows,
    take_turns,
    until_interrupted,
)
from tools.support.formula_weights import fill_by_formula, let_readings_stop
from tools.support.reading_rounds import jpegs

OURS = ("plain", "fast")
THEIRS = "transformers"
THEIR_PACKAGES = (THEIRS, "sentencepiece")
OUR_SCRIPT = Path(__file__).with_name("support") / "our_reading.py"
THEIR_SCRIPT = Path(__file__).with_name("support") / "transformers_reading.py"
POSITIONS = 6  # of the median reading, with stop
PAIRS = (("fp32", "fp32"), ("bf16", "bf16"), ("bf16", "fp32"))  # our type, and the other path's

MODELS = ["mgp_str_tiny_patch4_3_32_128", "mgp_str_base_patch4_3_32_128"]


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


@dataclass(frozen=True)
class Weights:
    """A model's weights as every path reads them.

    Attributes:
        model: its name.
        flops: operations of reading an image, by path.
        folder: has a file or folder with the weights for each path, under its name.

    """

    model: str
    flops: dict[str, int]
    folder: Path


def write_weights(
    name: str, stops: bool, theirs: bool, images: Sequence[bytes], folder: Path
) -> Weights:
    """Formula weights for every path that can read the model."""
    model = create_model(name).eval()
    fill_by_formula(model)
    config = model.config
    batch = torch.from_numpy(np.stack([model_input(i, config) for i in images])).float() / 255
    stop_ids = {name: codec.stop_id for name, codec in config_codecs(config).items()}
    if stops and isinstance(model, A3Decoding):
        let_readings_stop(model, stop_ids, batch, POSITIONS)
    flops = {
        "plain": count_flops(model, batch[:1]),
        "fast": count_flops(reading_path(model, stop_ids), batch),
    }
    for path in OURS:
        save_checkpoint(folder / path, model)
    if theirs:
        try:
            export_hugging_face(model, folder / THEIRS)
            flops[THEIRS] = flops["plain"]
        except ValueError as error:
            print(f"{THEIRS} left out: {error}", file=sys.stderr)
    return Weights(name, flops, folder)


def start(
    weights: Weights, path: str, dtype: str, batch: int, images: int, options: argparse.Namespace
) -> BenchProcess:
    """A path's process."""
    script = THEIR_SCRIPT if path == THEIRS else OUR_SCRIPT
    arguments = [weights.folder / path, dtype, batch, images, options.device]
    if path != THEIRS:
        arguments.append(options.compile and path == "fast")
    return BenchProcess(script, arguments)


def summed_up(
    key: tuple[str, str, str, int], rounds: Sequence[dict[str, Any]], images: int, share: float
) -> Row:
    """A path's row.

    Args:
        key: model, path, type and batch.
        rounds: what each of them took.
        images: a round.
        share: of the machine's matrix-product rate that an image a second takes.

    """
    speed = images / statistics.median(sum(own["seconds"]) for own in rounds)
    milliseconds = 1000 * np.concatenate([own["seconds"] for own in rounds])
    return Row(
        *key,
        images_per_s=speed,
        p50_ms=float(np.percentile(milliseconds, 50)),
        p99_ms=float(np.percentile(milliseconds, 99)),
        peak_mib=rounds[-1]["peak_mib"],
        share=speed * share,
    )


def bench(options: argparse.Namespace, stops: bool) -> Iterator[Row]:
    """Rows of all models, batch sizes, types and paths."""
    rates = matrix_rates(options.types, options.device)
    theirs = all(map(importlib.util.find_spec, THEIR_PACKAGES))
    if not theirs:
        print(f"{THEIRS} left out; it needs: pip install {' '.join(THEIR_PACKAGES)}", flush=True)
    for name in options.models:
        with TemporaryDirectory() as folder:
            weights = write_weights(
                name, stops, theirs, jpegs(min(options.images, 64)), Path(folder)
            )
            for batch in options.batches:
                images = max(options.images // batch, 1) * batch
                kinds = list(product(options.types, weights.flops))
                processes = [
                    start(weights, path, dtype, batch, images, options) for dtype, path in kinds
                ]
                title = f"{name}, {'stopping' if stops else 'never stopping'}, batch {batch}"
                answers, stopped = take_turns(processes, options.rounds, title)
                for (dtype, path), rounds in zip(kinds, answers, strict=True):
                    if rounds:
                        share = weights.flops[path] / rates[dtype]
                        yield summed_up((name, path, dtype, batch), rounds, images, share)
                if stopped:
                    raise KeyboardInterrupt


def table(rows: Sequence[Row]) -> str:
    """The rows, for people."""
    header = ["path", "type", "batch", "images/s", "p50 ms", "p99 ms", "peak MiB", "share"]
    cells = [
        [
            *(f"{r.model}, {r.path}", r.dtype, str(r.batch), f"{r.images_per_s:.2f}"),
            *(f"{r.p50_ms:.1f}", f"{r.p99_ms:.1f}", f"{r.peak_mib:.0f}", f"{r.share:.0%}"),
        ]
        for r in rows
    ]
    return markdown(header, cells)


def ratios(rows: Sequence[Row]) -> str:
    """The fast path against each of the others."""
    by_key = {(r.model, r.batch, r.path, r.dtype): r for r in rows}
    lines = []
    for model, batch, path in dict.fromkeys((r.model, r.batch, r.path) for r in rows):
        if path == "fast":
            continue
        for our_dtype, dtype in PAIRS:
            own = by_key.get((model, batch, "fast", our_dtype))
            other = by_key.get((model, batch, path, dtype))
            if own and other:
                lines.append(
                    f"{model}, batch {batch}, fast in {our_dtype} / {path} in {dtype}: speed "
                    f"{own.images_per_s / other.images_per_s:.2f}, memory "
                    f"{own.peak_mib / other.peak_mib:.2f}"
                )
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list_models(),
        metavar="MODEL",
        default=MODELS,
        help=f"names of models (default: {' '.join(MODELS)})",
    )
    parser.add_argument(
        "--batches",
        nargs="+",
        type=positive,
        metavar="N",
        default=[1, 32, 128],
        help="images per batch (default: 1 32 128)",
    )
    parser.add_argument(
        "--types",
        nargs="+",
        choices=DTYPES,
        default=list(DTYPES),
        help="of weights and products (default: both; bf16 takes long where processors lack it)",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument(
        "--compile", action="store_true", help="compile the fast path (default: off)"
    )
    parser.add_argument("--images", type=positive, default=64, help="in each round (default: 64)")
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument(
        "--stopping_only", action="store_true", help="leave out words that never stop"
    )
    parser.add_argument("--json", type=file_to_write, help="also write the rows to this file")
    options = parser.parse_args()
    found, stopped = until_interrupted(bench(options, stops=True))
    rows = {"rows": found}
    if not options.stopping_only and not stopped:
        rows["never_stopping"], _ = until_interrupted(bench(options, stops=False))
    for name, own in rows.items():
        if name != "rows":
            print("\nif no word ever stopped:")
        print(table(own))
        print(ratios(own))
    if options.json:
        save_rows(options.json, **rows)


if __name__ == "__main__":
    with interrupted_once():
        main()
