"""Kill a training run at random moments, resume it each time, and compare its end.

python3 tools/stress_resume.py stress --kills 20

Trains a small model twice on rendered sample data and on the rendered stream, with workers, RandAug
and core areas: once undisturbed, and once killed (kill -9, workers too) wherever it happens to be,
in start-up, a step, a validation or while saving. Both must end with the same weights, optimizer,
random states and scores, bit for bit. Exit status 1 where they don't.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from console.argument_types import positive, whole
from console.progress import RunLog
from engine.run_state import state_path
from engine.stopping import exit_on_sigterm
from models.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
MODEL = "acds_mgp_str_tiny"
IN_START_UP = 0.2  # share of the kills before the first step


class StressError(RuntimeError):
    """A run that failed by itself, or ended otherwise than it should."""


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two nested states differ; tensors are compared bit for bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = (one.dtype, one.shape) == (other.dtype, other.shape)
        same = same and _bytes(one) == _bytes(other)
        return [] if same else [place]
    if type(one) is not type(other):
        return [place]
    if isinstance(one, dict) and one.keys() == other.keys():
        pairs = [(f"{place}/{key}", one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple) and len(one) == len(other):
        pairs = [(f"{place}/{i}", *both) for i, both in enumerate(zip(one, other, strict=True))]
    else:
        return [] if one == other else [place]
    return [found for where, a, b in pairs for found in differences(a, b, where)]


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def run_differences(one: Path, other: Path) -> list[str]:
    """Where the ends of two runs differ, by their folders; options may."""
    found = []
    for name in ("last.pth", "best_accuracy.pth"):
        first, second = (load_checkpoint(folder / name) for folder in (one, other))
        found += differences(first.state_dict, second.state_dict, f"{name}/model")
        extras = [dict(checkpoint.extra) for checkpoint in (first, second)]
        for extra in extras:
            if "training" in extra:
                extra["training"] = {k: v for k, v in extra["training"].items() if k != "options"}
        found += differences(*extras, name)
    return found


class Run:
    """A training run in a process group of its own."""

    def __init__(self, place: Path, name: str, data: Path, options: Sequence[str]):
        self.folder = place / name
        self.log = place / f"{name}.log"
        self.command = [sys.executable, str(ROOT / "train_final_dist.py")]
        self.command += ["--train_data", str(data / "training"), "--exp_name", name]
        self.command += ["--valid_data", str(data / "evaluation/SVT"), "--saved_path", str(place)]
        self.command += ["--TransformerModel", MODEL, "--rgb", "--is_mask_supervision", *options]

    def start(self) -> subprocess.Popen:
        """Start it, or go on with it."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.command, "--resume", "auto"],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def finish(self, iterations: int) -> None:
        """Let it come to its end.

        Raises:
            StressError: it fails, or was stopped before.

        """
        if self._wait(self.start()) != 0 or self.reached() != iterations:
            raise StressError(f"The run did not come to its end; see {self.log}.")

    def _wait(self, process: subprocess.Popen, seconds: float | None = None) -> int:
        """Its exit status; it is killed, with its workers, where there is none."""
        try:
            return process.wait(seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def kill_after(self, seconds: float) -> bool:
        """Start it and kill it; False where it ended before.

        Raises:
            StressError: it fails by itself.

        """
        try:
            status = self._wait(self.start(), seconds)
        except subprocess.TimeoutExpired:
            return True
        if status != 0:
            raise StressError(f"The run failed by itself; see {self.log}.")
        return False

    def reached(self) -> int:
        """Iteration of its newest state; 0 before the first."""
        # A kill between two renames leaves it under another name.
        states = [state_path(self.folder, place) for place in range(3)]
        newest = next((path for path in states if path.exists()), None)
        return load_checkpoint(newest).extra["iteration"] if newest else 0


def stress(
    place: Path, kills: int, iterations: int, options: Sequence[str], seed: int, log: RunLog
) -> None:
    """Run both, and compare their ends.

    Args:
        place: folder for everything; must not exist.
        kills: how often to kill.
        iterations: of the runs.
        options: more options of the training script.
        seed: of the moments.
        log: takes a line a kill.

    Raises:
        StressError: a run fails by itself or ends before it was killed as often, or their ends
            differ.

    """
    data = place / "data"
    rendering = [str(ROOT / "tools/make_sample_data.py"), str(data), "--packaged_fonts_only"]
    rendering += ["--train", "200", "--st", "200", "--valid", "10", "--evaluation", "10"]
    subprocess.run([sys.executable, *rendering], check=True, stdout=subprocess.DEVNULL)
    undisturbed, killed = (Run(place, n, data, options) for n in ("undisturbed", "killed"))
    log("undisturbed run")
    started = time.time()
    undisturbed.finish(iterations)
    # The folder is made when start-up is nearly over.
    start_up = (undisturbed.folder / "options.json").stat().st_mtime - started
    training = time.time() - started - start_up
    log(f"{start_up:.1f} s of start-up, {training:.1f} s of training")
    moments = random.Random(seed)
    for kill in range(1, kills + 1):
        if moments.random() < IN_START_UP:
            seconds = start_up * moments.random()
        else:
            # So much that all kills together leave something to do at the end.
            seconds = start_up + 1.2 * training / kills * moments.random()
        if not killed.kill_after(seconds):
            raise StressError(f"The run came to its end before kill {kill}: give more --num_iter.")
        log(f"kill {kill} after {seconds:.2f} s, newest state: iteration {killed.reached()}")
    killed.finish(iterations)
    found = run_differences(undisturbed.folder, killed.folder)
    if found:
        raise StressError(f"The ends differ in {len(found)} places, first {found[0]}.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, stress, say."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="Options that are not listed go to train_final_dist.py.",
    )
    parser.add_argument("out", type=Path, help="folder for the runs; must not exist")
    parser.add_argument(
        "--kills", type=positive, default=20, help="how often a run is killed (default: 20)"
    )
    parser.add_argument(
        "--num_iter", type=positive, default=120, help="iterations of the run (default: 120)"
    )
    parser.add_argument(
        "--seed", type=whole, default=0, help="of the moments to kill at (default: 0)"
    )
    options, more = parser.parse_known_args(arguments)
    if options.out.exists():
        parser.error(f"{options.out} is there already; name another folder")
    training = ["--select_data", "MJ-ST-synthetic", "--synthetic_packaged_fonts_only"]
    training += ["--stochastic_depth", "0.3"]  # draws from the main process's generator
    training += ["--batch_size", "6", "--workers", "2", "--isrand_aug", "--adam", "--lr", "0.001"]
    training += ["--num_iter", str(options.num_iter), "--valInterval", "15", "--save_interval", "2"]
    exit_on_sigterm()
    try:
        stress(
            options.out,
            options.kills,
            options.num_iter,
            [*training, *more],
            options.seed,
            RunLog(),
        )
    except StressError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"killed {options.kills} times and resumed: the same end, bit for bit")


if __name__ == "__main__":
    main()
