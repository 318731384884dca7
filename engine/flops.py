"""How much a model computes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, which also knows the products of `modules.packed_linear`.

    Used as a context; then `get_total_flops()` says how many there were (two a multiply-add).
    """
    known = {}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        known[torch.ops.mkldnn._linear_pointwise] = _linear_flops
    return FlopCounterMode(display=False, custom_mapping=known)


def _linear_flops(values: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    """Operations of a linear layer, from the shapes of its values and its results."""
    return 2 * values[-1] * math.prod(out_shape)


def count_flops(model: nn.Module, images: Tensor) -> int:
    """Floating-point operations (two a multiply-add) of reading one of the images [B, C, H, W]."""
    device = next(model.parameters()).device
    # The counter sees fused attention only outside inference mode.
    with flop_counter() as counter, torch.no_grad():
        model(images.to(device))
    return counter.get_total_flops() // len(images)
