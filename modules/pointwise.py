"""Convolutions of one pixel without a bias as matrices, two in a row as one."""

import torch
from torch import Tensor, nn


def as_matrix(conv: nn.Conv2d) -> Tensor:
    """Such a convolution, in groups or not, as a matrix [out, in]."""
    blocks = _by_group(conv).permute(1, 2, 0)
    return torch.diag_embed(blocks, dim1=0, dim2=2).flatten(2).flatten(0, 1)


def pair_as_matrix(pair: nn.Sequential) -> Tensor:
    """Two of them as one matrix [out, in], of the weights' own type whatever autocast asks for.

    The first may be in groups.
    """
    first, second = pair
    inner = _by_group(first)
    outer = second.weight.flatten(1).unflatten(1, inner.shape[:2])
    with torch.autocast(inner.device.type, enabled=False):
        return (outer.transpose(0, 1) @ inner).transpose(0, 1).flatten(1)


def _by_group(conv: nn.Conv2d) -> Tensor:
    """A convolution's weights, [groups, out of one, in of one]."""
    return conv.weight.flatten(1).unflatten(0, (conv.groups, -1))
