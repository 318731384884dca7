"""Adadelta on CPUs, a part of a large parameter at a time.

PyTorch's goes through a whole parameter with each of its eleven operations; where that is larger
than the processor's caches, every one of them waits for the memory.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim.adadelta import adadelta

from engine.own_adadelta import AVERAGES, Group, OwnAdadelta, State

PART = 2**18  # numbers


class AdadeltaInParts(OwnAdadelta):
    """Equal to `torch.optim.Adadelta` without `foreach`, bit by bit."""

    def _move(self, number: int, group: Group, moved: list[Tensor], states: list[State]) -> None:
        settings = {name: group[name] for name in ("lr", "rho", "eps", "weight_decay", "maximize")}
        ignored = torch.zeros(())  # counts parts, in place of steps
        for parameter, state in zip(moved, states, strict=True):
            of_it = [parameter, parameter.grad, *(state[name] for name in AVERAGES)]
            for part in _parts(of_it):
                lists = [[values] for values in (*part, ignored)]
                adadelta(*lists, foreach=False, **settings)


def _parts(tensors: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one shape in parts, which are views; whole if small or not laid out row by row."""
    if tensors[0].numel() <= PART or not all(values.is_contiguous() for values in tensors):
        yield tuple(tensors)
    else:
        yield from zip(*(values.view(-1).split(PART) for values in tensors), strict=True)
