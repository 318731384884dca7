"""Where this process stands among the others, and sums over all of them."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from system.error_cause import cause_of
from system.no_gpu import why_no_gpu


class LaunchError(RuntimeError):
    """Processes, devices and options that don't go together."""


class LostProcessError(RuntimeError):
    """Another process ended or hangs, so that this one can't go on."""


@dataclass(frozen=True)
class Process:
    """Rank among `world_size` processes, and the device that this one computes on."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum of a tensor over all processes."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gathered(self, values: list) -> list:
        """The lists of all processes, one after the other; empty on all but the first."""
        if self.world_size == 1:
            return values
        lists = [None] * self.world_size if self.is_main else None
        dist.gather_object(values, lists)
        return [value for one in lists or () for value in one]

    @contextmanager
    def first_of_machine_first(self) -> Iterator[None]:
        """The first process of each machine does this before the others, who find its files."""
        waits = self.world_size > 1
        if waits and self.local_rank != 0:
            dist.barrier()
        yield
        if waits and self.local_rank == 0:
            dist.barrier()

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers.

        BatchNorm statistics differ by rank, and the first rank's are the ones that are saved.
        """
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


@contextmanager
def distributed(
    device: str | None = None, minutes: float = 30, **expected: object
) -> Iterator[Process]:
    """Join the processes that torchrun or torch.distributed.launch started; alone under python.

    NCCL on GPUs, gloo on CPUs.

    Args:
        device: cuda or cpu; None takes a GPU where there is one.
        minutes: that a process waits for the others.
        expected: values of options that the launcher sets too (world_size, local_rank), checked
            against it; None where not given.

    Raises:
        LaunchError: no GPU where one is asked for, more processes than GPUs, or options that
            contradict the launcher.
        LostProcessError: another process ended, or did not answer within the time.

    """
    world_size, rank, local_rank = _launched()
    launched = {"world_size": world_size, "local_rank": local_rank}
    for name, value in expected.items():
        if value is not None and value != launched[name]:
            raise LaunchError(
                f"--{name} {value} contradicts the launcher, which set {launched[name]}; leave "
                "the option out, and start with torchrun --nproc_per_node=N."
            )
    chosen = _device(device, local_rank)
    if world_size > 1:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=timedelta(minutes=minutes))
        except dist.DistError as error:
            raise _lost(error, rank, minutes) from error
    try:
        yield Process(rank, local_rank, world_size, chosen)
    except RuntimeError as error:
        if world_size > 1 and _is_of_communication(error):
            raise _lost(error, rank, minutes) from error
        raise
    # Not after an error: the other ranks may sit in a collective, and this would wait for them.
    # The launcher ends them when this process exits.
    if world_size > 1:
        dist.destroy_process_group()


def _launched() -> tuple[int, int, int]:
    """Number of processes, rank, and rank on this machine, as the launcher set them."""
    try:
        world_size, rank, local_rank = (
            int(os.environ.get(name, default))
            for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))
        )
    except ValueError as error:
        raise LaunchError(f"WORLD_SIZE, RANK or LOCAL_RANK is no number ({error}).") from None
    if world_size > 1 and "RANK" not in os.environ:
        raise LaunchError(
            f"WORLD_SIZE is {world_size} in the environment, but no RANK is: unset WORLD_SIZE, or "
            "start with torchrun."
        )
    return world_size, rank, local_rank


def leave(status: int) -> NoReturn:
    """End this process after an error: at once, where it has joined others.

    Threads that wait for the others abort the process, now and then, when the interpreter is
    taken down under them; the launcher would see that in place of the status.
    """
    if not dist.is_initialized():
        raise SystemExit(status)
    for worker in multiprocessing.active_children():
        worker.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _is_of_communication(error: RuntimeError) -> bool:
    """Whether another process is at fault; gloo says so by nothing but its message."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _lost(error: RuntimeError, rank: int, minutes: float) -> LostProcessError:
    reason = cause_of(error)
    return LostProcessError(
        f"Process {rank} lost another one ({reason}). It ended (see its own message above), or "
        f"did not answer for {minutes:g} minutes (--timeout). Start all again; a training goes on "
        "with --resume auto."
    )


def _device(device: str | None, local_rank: int) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device is None and gpus == 0):
        return torch.device("cpu")
    if gpus == 0:
        raise LaunchError(f"--device cuda was asked for, but {why_no_gpu()}; or use --device cpu.")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if processes > gpus:
        raise LaunchError(
            f"{processes} processes were started on this machine, but torch sees {gpus} GPU(s); "
            f"start with --nproc_per_node={gpus}, or name more in CUDA_VISIBLE_DEVICES."
        )
    return torch.device("cuda", local_rank)
