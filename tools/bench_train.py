"""How fast a recognizer trains: a step as the papers' formulas read, and ours.

python3 tools/bench_train.py --models mgp_str_tiny_patch4_3_32_128 --batch 32

*plain* computes all positions, full logits and whole attention maps; *fast* is the training loop's
own step. Each path runs in a process of its own; the processes take turns, and medians are
reported. Images are random and labels are words, so that the work is that of training. Stopped
early, by Ctrl-C or SIGTERM, it prints what there is.

--loop also runs train_final_dist.py itself, on words that are rendered meanwhile, and tells where
its time goes. --compile compiles the fast path, and that loop's model.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from console.argument_types import file_to_write, positive
from console.markdown_table import markdown
from engine.distributed import Process
from engine.flops import flop_counter
from engine.memory import peak_mib
from engine.optimization import Optimization
from engine.run_form import run_form
from engine.step import Stepper
from engine.training import METRICS_INTERVAL
from models import config_codecs, create_model, list_models
from models.mgp_str import A3Decoding
from models.supervision import core_area_losses
from synthetic.words import VocabularyWords
from tools.support.bench_process import (
    DTYPES,
    BenchProcess,
    interrupted_once,
    matrix_rates,
    save_rows,
    serve,
    take_turns,
    until_interrupted,
    wait_for,
)

ROOT = Path(__file__).resolve().parents[1]
PATHS = ("plain", "fast")
PAIRS = (("fp32", "fp32"), ("bf16", "bf16"), ("bf16", "fp32"))  # types of fast and of plain
STEPS_A_ROUND = {"cpu": 1, "cuda": 10}  # a GPU's steps are too short to be timed one by one
DEFAULT_MODELS = ["mgp_str_tiny_patch4_3_32_128"]
AMP = {"fp32": "off", "bf16": "bf16"}


@dataclass(frozen=True)
class Row:
    """One path's figures.

    Attributes:
        images_per_s: median over the rounds.
        peak_mib: largest memory of its process; on a GPU, of what PyTorch took there.
        share: of this machine's matrix-product rate in that type, by the plain step's operations
            on *plain*, and by its own on *fast*.
        gflops_an_image: operations of its step, in billions.

    """

    model: str
    path: str
    dtype: str
    batch: int
    images_per_s: float
    peak_mib: float
    share: float
    gflops_an_image: float


@dataclass(frozen=True)
class LoopShares:
    """Where the time of the training loop goes.

    Attributes:
        data_wait_share: of the time, waiting for data, 0..1.
        loop_share: neither data nor steps, 0..1.

    """

    model: str
    dtype: str
    batch: int
    steps: int
    data_wait_share: float
    loop_share: float

    def __str__(self) -> str:
        return (
            f"{self.model}, {self.dtype}, batch {self.batch}, {self.steps} steps of "
            f"train_final_dist.py: {self.data_wait_share:.1%} of the time waiting for data, "
            f"{self.loop_share:.2%} outside of data and steps"
        )


def problem(model: nn.Module, batch: int, device: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Images and targets of a batch; core areas where the model draws them."""
    random = np.random.default_rng(0)
    words = VocabularyWords()
    texts = [words.draw(random).lower() for _ in range(batch)]
    config = model.config
    images = torch.rand(batch, config.channels, config.image_height, config.image_width)
    targets = {
        name: torch.from_numpy(codec.encode_batch(texts))
        for name, codec in config_codecs(config).items()
    }
    if config.has_extractor:
        areas = torch.zeros(batch, 1, config.image_height, config.image_width, dtype=torch.uint8)
        for number in range(6):
            areas[:, :, 8:24, 10 + 18 * number : 20 + 18 * number] = number + 1
        has_core_area = torch.ones(batch, dtype=torch.bool)
        targets |= {"core_area": areas, "has_core_area": has_core_area}
    return images.to(device), {name: target.to(device) for name, target in targets.items()}


def plain_losses(
    model: nn.Module, images: Tensor, targets: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Mean losses by name, as the formulas read: logits of all positions, then cross entropy."""
    encoding = model.encode(images, "core_area" in targets)
    if isinstance(model, A3Decoding):
        logits, attention = model.decode(encoding.tokens)
    else:
        logits, attention = {"char": model.char_tokenLearner(encoding.tokens)}, {}
    losses = {
        f"{name}_loss": F.cross_entropy(
            found.flatten(0, 1).to(torch.promote_types(found.dtype, torch.float32)),
            targets[name].flatten(),
            ignore_index=model.pad_ids[name],
        )
        for name, found in logits.items()
    }
    others = core_area_losses(model.config, encoding, targets, attention.get("char"))
    return losses | {name: loss.mean for name, loss in others.items()}


def plain_step(
    model: nn.Module, weights: Mapping[str, float], dtype: torch.dtype
) -> Callable[[Tensor, Mapping[str, Tensor]], None]:
    """A training step in the order of any tutorial, with the reference's optimizer."""
    model.fuse_attention(False)
    model.attend_by_hand(False)
    model.pack_products(False)
    model.fold_decoders(False)
    model.recompute(False)
    usual = Optimization()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adadelta(trained, lr=usual.lr, rho=usual.rho, eps=usual.eps)

    def step(images: Tensor, targets: Mapping[str, Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            losses = plain_losses(model, images, targets)
        sum(weights.get(name, 1.0) * loss for name, loss in losses.items()).backward()
        nn.utils.clip_grad_norm_(trained, usual.grad_clip)
        optimizer.step()

    return step


def fast_step(
    model: nn.Module,
    weights: Mapping[str, float],
    dtype: str,
    device: str,
    recomputes: bool,
    compiled: bool,
) -> Callable[[Tensor, Mapping[str, Tensor]], Any]:
    """The training loop's step, with what the loop sets up for it."""
    process = Process(0, 0, 1, torch.device(device))
    wrapped = run_form(model, process, AMP[dtype], compiled=compiled, recomputes=recomputes)
    optimization = Optimization()
    optimizer, schedule = optimization.build(model)
    step = Stepper(
        model, optimizer, schedule, optimization.grad_clip, process, AMP[dtype], weights, wrapped
    )
    return lambda images, targets: step([(images, targets)])


def loss_weights(model: nn.Module) -> dict[str, float]:
    """Of the losses that the usual recipe leaves out, or weighs otherwise than 1."""
    return {"core_area_loss": 0.5, "guidance_loss": 0.0} if model.config.has_extractor else {}


def work(
    name: str,
    path: str,
    dtype: str,
    batch: int,
    device: str,
    recomputes: bool,
    compiled: bool,
) -> None:
    """A path's process: some steps a round; before, one that counts its operations.

    Those of compiled steps can't be counted.
    """
    torch.manual_seed(0)
    model = create_model(name).train().to(device)
    model.learn_core_areas(model.config.has_extractor)
    images, targets = problem(model, batch, device)
    weights = loss_weights(model)
    if path == "plain":
        step = plain_step(model, weights, DTYPES[dtype])
    else:
        step = fast_step(model, weights, dtype, device, recomputes, compiled)
    flops = None
    if not compiled:
        with flop_counter() as counter:
            step(images, targets)
        flops = counter.get_total_flops()

    def round_of_steps() -> dict[str, Any]:
        wait_for(device)
        started = time.perf_counter()
        for _ in range(STEPS_A_ROUND[device]):
            step(images, targets)
        wait_for(device)
        seconds = (time.perf_counter() - started) / STEPS_A_ROUND[device]
        return {"seconds": seconds, "peak_mib": peak_mib(device), "flops": flops}

    serve(round_of_steps)


def bench(options: argparse.Namespace) -> Iterator[Row]:
    """Rows of all models, types and paths."""
    rates = matrix_rates(options.types, options.device)
    for model in options.models:
        keys = [
            (model, path, dtype, options.batch) for dtype in options.types for path in options.paths
        ]
        # Before, as what is stopped early has no time for it.
        uncompiled = {
            key: uncompiled_flops(key, options)
            for key in keys
            if _arguments(key, options, options.compile)[-1]
        }
        processes = [
            BenchProcess(__file__, _arguments(key, options, options.compile)) for key in keys
        ]
        answers, stopped = take_turns(processes, options.rounds, model, warm_up=True)
        for key, found in zip(keys, answers, strict=True):
            if not found:
                continue
            speed = options.batch / statistics.median(a["seconds"] for a in found)
            flops = (found[-1]["flops"] or uncompiled[key]) / options.batch
            share = speed * flops / rates[key[2]]
            figures = round(speed, 3), round(found[-1]["peak_mib"], 1), round(share, 3)
            yield Row(*key, *figures, round(flops / 1e9, 2))
        if stopped:
            raise KeyboardInterrupt


def _arguments(key: Sequence[Any], options: argparse.Namespace, compiled: bool) -> list[Any]:
    """Of a path's process; only the fast path is ever compiled."""
    _, path, _, _ = key
    return [*key, options.device, options.recompute, compiled and path == "fast"]


def uncompiled_flops(key: Sequence[Any], options: argparse.Namespace) -> int:
    """Operations of a path's step, which are the same when it is compiled."""
    process = BenchProcess(__file__, _arguments(key, options, compiled=False))
    flops = process.round()["flops"]
    process.close()
    return flops


def ratios(rows: Sequence[Row]) -> str:
    """Fast against plain, in words."""
    by_key = {(r.model, r.path, r.dtype): r for r in rows}
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        for our_dtype, dtype in PAIRS:
            fast = by_key.get((model, "fast", our_dtype))
            plain = by_key.get((model, "plain", dtype))
            if fast and plain:
                lines.append(
                    f"{model}, fast in {our_dtype} / plain in {dtype}: speed "
                    f"{fast.images_per_s / plain.images_per_s:.2f}, memory "
                    f"{fast.peak_mib / plain.peak_mib:.2f}"
                )
    return "\n".join(lines)


def loop_shares(
    model: str, dtype: str, batch: int, device: str, steps: int, compiled: bool
) -> LoopShares:
    """Of a run on words that are rendered meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        few = ["--train", "1", "--st", "1", "--valid", "2", "--evaluation", "1", "--jobs", "1"]
        _run("tools/make_sample_data.py", f"{place}/data", *few)
        options = {
            "--select_data": "synthetic",
            "--valid_data": f"{place}/data/training/MJ/MJ_valid",
            "--TransformerModel": model,
            "--batch_size": batch,
            "--amp": AMP[dtype],
            "--device": device,
            "--num_iter": steps,
            "--saved_path": place,
            "--exp_name": "loop",
        }
        flags = ["--rgb", "--compile"] if compiled else ["--rgb"]
        _run("train_final_dist.py", *flags, *(w for pair in options.items() for w in pair))
        lines = Path(place, "loop", "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = next(f for f in map(json.loads, reversed(lines)) if "train/loop_share" in f)
    shares = found["train/data_wait_share"], found["train/loop_share"]
    return LoopShares(model, dtype, batch, steps, *shares)


def _run(script: str, *arguments: object) -> None:
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Parse, measure, print."""
    if sys.argv[1:2] == ["--work"]:
        name, path, dtype, batch, device, *form = sys.argv[2:]
        work(name, path, dtype, int(batch), device, *(setting == "True" for setting in form))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list_models(), default=DEFAULT_MODELS)
    parser.add_argument("--batch", type=positive, default=32, help="images per step (default: 32)")
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=PATHS, help="default: both")
    parser.add_argument(
        "--types", nargs="+", choices=DTYPES, default=[*DTYPES], help="default: both"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--json", type=file_to_write, help="also write the rows to this file")
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="let the fast path compute again what it need not keep (default: off)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the fast path (default: off)"
    )
    parser.add_argument(
        "--loop",
        type=positive,
        metavar="STEPS",
        help="also run that many steps of the training loop, 10 or more (default: no)",
    )
    options = parser.parse_args()
    if options.loop is not None and options.loop < METRICS_INTERVAL:
        parser.error(f"--loop needs {METRICS_INTERVAL} steps or more, to measure anything")
    rows, stopped = until_interrupted(bench(options))
    cells = [
        [
            *(f"{r.model}, {r.path}", r.dtype, str(r.batch), f"{r.images_per_s:.2f}"),
            *(f"{r.gflops_an_image:.2f}", f"{r.peak_mib:.0f}", f"{r.share:.0%}"),
        ]
        for r in rows
    ]
    print(
        markdown(["path", "type", "batch", "images/s", "GFLOP/image", "peak MiB", "share"], cells)
    )
    if {"plain", "fast"} <= set(options.paths):
        print(ratios(rows))
    loops = []
    if options.loop and not stopped:
        for model, dtype in product(options.models, options.types):
            form = options.device, options.loop, options.compile
            loops.append(loop_shares(model, dtype, options.batch, *form))
            print(loops[-1], flush=True)
    if options.json:
        save_rows(options.json, rows=rows, loops=loops)


if __name__ == "__main__":
    with interrupted_once():
        main()
