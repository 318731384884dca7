"""How much a model computes."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, images: Tensor) -> int:
    """Floating-point operations (two a multiply-add) of reading one of the images [B, C, H, W]."""
    device = next(model.parameters()).device
    # The counter sees fused attention only outside inference mode.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images.to(device))
    return counter.get_total_flops() // len(images)
