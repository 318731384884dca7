"""Adadelta in one pass over a GPU's memory.

PyTorch has no fused one: its steps go through the memory some ten times, which takes an H200 6.7 ms
for the base model, an eighth of a step of 100 images; these take 1.3.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from engine.own_adadelta import AVERAGES, Group, OwnAdadelta, State

BLOCK = 2048  # numbers that a program of the kernel moves


class FusedAdadelta(OwnAdadelta):
    """Equal to `torch.optim.Adadelta` up to rounding; each takes the other's state.

    Args:
        groups: of parameters, in fp32 and without gaps in memory, on one GPU.
        lr, rho, eps: as there.

    """

    def __init__(self, groups: Sequence[Group], lr: float, rho: float, eps: float):
        super().__init__(groups, lr=lr, rho=rho, eps=eps)
        self._programs: dict[int, _Programs] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, which has parameters of its own, or of `load_state_dict`."""
        super().__setstate__(state)
        self._programs = {}

    def _move(self, number: int, group: Group, moved: list[Tensor], states: list[State]) -> None:
        gradients = [_laid_out_as(p, p.grad) for p in moved]
        for parameter, state in zip(moved, states, strict=True):
            state |= {name: _laid_out_as(parameter, state[name]) for name in AVERAGES}
        averages = ([s[name] for s in states] for name in AVERAGES)
        addresses = [[t.data_ptr() for t in kind] for kind in (moved, gradients, *averages)]
        sizes = [p.numel() for p in moved]
        programs = self._programs.get(number)
        if programs is None or programs.sizes != sizes:
            programs = self._programs[number] = _Programs(sizes, moved[0].device)
        table = programs.table(addresses)
        rho, rest = group["rho"], 1 - group["rho"]
        settings = group["lr"], group["weight_decay"], rho, rest, group["eps"]
        with torch.cuda.device_of(moved[0]):
            _move_blocks[(len(programs.owners),)](
                *(table, programs.owners, programs.starts, len(moved), *settings), block=BLOCK
            )
        for parameter in moved:  # a Reader of the model looks for it
            torch.autograd.graph.increment_version(parameter)


class _Programs:
    """What each program of the kernel moves, for a group of parameters.

    Attributes:
        sizes: numbers of each parameter.
        owners, starts: each program's parameter, and the first number it moves, int64 [programs].

    """

    def __init__(self, sizes: list[int], device: torch.device):
        self.sizes = sizes
        counts = torch.tensor([triton.cdiv(size, BLOCK) for size in sizes])
        owners = torch.repeat_interleave(counts)
        starts = BLOCK * (torch.arange(len(owners)) - (counts.cumsum(0) - counts)[owners])
        self.owners, self.starts = owners.to(device), starts.to(device)
        self._addresses: list[list[int]] = []

    def table(self, addresses: list[list[int]]) -> Tensor:
        """The addresses, and below them the sizes, int64 [5, parameters].

        Args:
            addresses: of parameters, gradients and both averages; gradients move now and then.

        """
        if addresses != self._addresses:
            table = torch.tensor([*addresses, self.sizes])
            self._table = table.to(self.owners.device, non_blocking=True)
            self._addresses = addresses
        return self._table


def _laid_out_as(parameter: Tensor, values: Tensor) -> Tensor:
    """So that numbers at the same place in memory belong together."""
    if values.stride() == parameter.stride():
        return values
    return torch.empty_like(parameter).copy_(values)


def try_kernel(device: torch.device) -> None:
    """Move one number, which raises whatever keeps Triton from compiling or running here."""
    parameter = nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    FusedAdadelta([{"params": [parameter]}], lr=1.0, rho=0.9, eps=1e-6).step()


@triton.jit(do_not_specialize=["count"])
def _move_blocks(table, owners, starts, count, rate, decay, rho, rest, eps, block: tl.constexpr):
    """M. Zeiler, 2012, in the order of PyTorch's; `rest` is 1 - rho."""
    program = tl.program_id(0)
    own = table + tl.load(owners + program)
    places = tl.load(starts + program) + tl.arange(0, block)
    inside = places < tl.load(own + 4 * count)
    number = tl.pointer_type(tl.float32)
    parameters = tl.load(own).to(number) + places
    squares = tl.load(own + 2 * count).to(number) + places
    deltas = tl.load(own + 3 * count).to(number) + places
    parameter = tl.load(parameters, inside)
    gradient = tl.load(tl.load(own + count).to(number) + places, inside) + decay * parameter
    delta = tl.load(deltas, inside)
    square = rho * tl.load(squares, inside) + rest * gradient * gradient
    change = tl.div_rn(tl.sqrt_rn(delta + eps), tl.sqrt_rn(square + eps)) * gradient
    tl.store(parameters, parameter - rate * change, inside)
    tl.store(squares, square, inside)
    tl.store(deltas, rho * delta + rest * change * change, inside)
