"""Convolutions of one pixel without a bias as matrices, two in a row as one."""

import torch
from torch import Tensor, nn


def as_matrix(conv: nn.Conv2d) -> Tensor:
    """Such a convolution, in groups or not, as a matrix [out, in]."""
    return torch.block_diag(*conv.weight.flatten(1).chunk(conv.groups))


def pair_as_matrix(pair: nn.Sequential) -> Tensor:
    """Two of them as one matrix [out, in], of the weights' own type whatever autocast asks for."""
    first, second = pair
    with torch.autocast(second.weight.device.type, enabled=False):
        return as_matrix(second) @ as_matrix(first)
