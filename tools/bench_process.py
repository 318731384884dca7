"""What benches of several paths share: a process for each, and this machine's product rate."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Benches put the repository's root on the path before they import this.
import torch
from torch import nn

from modules.packed_linear import PackedLinear, can_be_packed
from progress import Progress, RunLog
from whole_file import write_text

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Rows and columns of the product that gives this machine's rate, and how many are timed together:
# on a GPU, starting one and waiting for it would be a good part of its time.
MATRIX = {"cpu": 4096, "cuda": 8192}
PRODUCTS = {"cpu": 1, "cuda": 20}


@torch.no_grad()
def matrix_rate(dtype: torch.dtype, device: str) -> float:
    """Floating-point operations a second of a large matrix product, the best of several.

    Packed ones count too: on some processors they are twice as fast as the plain product.
    """
    size = MATRIX[device]
    layer = nn.Linear(size, size, device=device, dtype=dtype)
    values = torch.rand(size, size, device=device).to(dtype)
    products = [layer.weight.matmul]
    if can_be_packed(layer.weight):
        products.append(PackedLinear(layer))
    seconds = []
    for multiply in products * 4:
        wait_for(device)
        started = time.perf_counter()
        for _ in range(PRODUCTS[device]):
            multiply(values)
        wait_for(device)
        seconds.append((time.perf_counter() - started) / PRODUCTS[device])
    return 2 * size**3 / min(seconds)


def matrix_rates(dtypes: Sequence[str], device: str) -> dict[str, float]:
    """The rates of several types by their names; it prints them, too."""
    rates = {name: matrix_rate(DTYPES[name], device) for name in dtypes}
    for name, rate in rates.items():
        print(f"a large product in {name}: {rate / 1e12:.3g} TFLOP/s", flush=True)
    return rates


def wait_for(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def serve(work: Callable[[], dict[str, Any]]) -> None:
    """A path's process: a round for each line on standard input, its figures on standard output."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the bench's to answer, which gets them too
        signal.signal(number, signal.SIG_IGN)
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)


def save_rows(file: str, **tables: Sequence[Any]) -> None:
    """Write tables of rows, which are dataclasses, as JSON under their names."""
    contents = {name: [asdict(row) for row in rows] for name, rows in tables.items()}
    write_text(file, json.dumps(contents, indent=2) + "\n")


class BenchProcess:
    """A path in a process of its own, so that its peak memory is its own too.

    Args:
        script: the bench, which calls `serve` when its first argument is `--work`.
        arguments: after that.

    """

    def __init__(self, script: str | Path, arguments: Sequence[object]):
        self.arguments = [str(argument) for argument in arguments]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(script).resolve()), "--work", *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def round(self) -> dict[str, Any]:
        """Let it do a round; its figures."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            shown = " ".join(self.arguments)
            raise RuntimeError(f"The process of {shown} ended; its message stands above.")
        return json.loads(line)


def take_turns(
    processes: Sequence[BenchProcess], rounds: int, name: str, warm_up: bool = False
) -> tuple[list[list[dict[str, Any]]], bool]:
    """Let processes do their rounds in turn, and end them; SIGINT and SIGTERM end it early.

    Args:
        processes: one for each path.
        rounds: of each.
        name: of what is measured, for the log.
        warm_up: whether there is a round before, whose figures are left out.

    Returns:
        The figures of each process in each round that all of them did, and whether it ended early.

    """
    found: list[list[dict[str, Any]]] = []
    progress = Progress((rounds + warm_up) * len(processes), name, RunLog(), unit="rounds")
    stopped = False
    try:
        with _interrupted_by(signal.SIGTERM):
            for _ in range(rounds + warm_up):
                answers = []
                for process in processes:
                    answers.append(process.round())
                    progress.update(1)
                found.append(answers)
    except KeyboardInterrupt:
        stopped = True
    finally:
        progress.close()
        for process in processes:
            process.close()
    found = found[warm_up:]
    if stopped:
        print(f"{name}: stopped; its figures are of {len(found)} rounds, not {rounds}", flush=True)
    return [[answers[number] for answers in found] for number in range(len(processes))], stopped


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """A signal does what Ctrl-C does."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
