"""How much a model computes."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Floating-point operations (two a multiply-add) of reading one image [C, H, W]."""
    device = next(model.parameters()).device
    counter = FlopCounterMode(display=False)
    # The counter sees fused attention only outside inference mode.
    with counter, torch.no_grad():
        model(torch.zeros(1, *image_shape, device=device))
    return counter.get_total_flops()
