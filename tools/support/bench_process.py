"""What benches of several paths share: a process for each, and this machine's product rate."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

# Benches put the repository's root on the path before they import this.
import torch
from torch import nn

from console.progress import Progress, RunLog
from modules.packed_linear import PackedLinear, can_be_packed
from system.whole_file import write_text

T = TypeVar("T")
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
            start_new_session=True,  # signals are the bench's to answer
        )
        self._answer()

    def round(self) -> dict[str, Any]:
        """Let it do a round; its figures."""
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, as the answer tells
        return self._answer()

    def close(self, at_once: bool = False) -> None:
        """End the process.

        Args:
            at_once: with all that it has started, whatever it is at; else when its round is done.

        """
        if at_once:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            shown = " ".join(self.arguments)
            raise RuntimeError(f"The process of {shown} ended; its message stands above.")
        return json.loads(line)


def take_turns(
    processes: Sequence[BenchProcess], rounds: int, name: str, warm_up: bool = False
) -> tuple[list[list[dict[str, Any]]], bool]:
    """Let processes do their rounds in turn, and end them; an interrupt ends it early.

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
    done = False
    try:
        for _ in range(rounds + warm_up):
            answers = []
            for process in processes:
                answers.append(process.round())
                progress.update(1)
            found.append(answers)
        done = True
    except KeyboardInterrupt:
        pass
    finally:
        progress.close()
        for process in processes:
            process.close(at_once=not done)
    found = found[warm_up:]
    if not done:
        print(f"{name}: stopped; its figures are of {len(found)} rounds, not {rounds}", flush=True)
    return [[answers[number] for answers in found] for number in range(len(processes))], not done


def until_interrupted(rows: Iterable[T]) -> tuple[list[T], bool]:
    """What there is of some rows when they are interrupted, and whether they were."""
    found = []
    try:
        for row in rows:
            found.append(row)
    except KeyboardInterrupt:
        return found, True
    return found, False


@contextmanager
def interrupted_once() -> Iterator[None]:
    """SIGINT or SIGTERM interrupts what is done; any more of them are ignored.

    `timeout` sends two, and figures are still to be printed after the first.
    """
    numbers = signal.SIGINT, signal.SIGTERM

    def interrupt(number: int, frame: object) -> None:
        for own in numbers:
            signal.signal(own, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
