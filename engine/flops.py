"""How much a model computes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, which also knows what it lacks: the products of `modules.packed_linear`,
    and the attention that is fused on CPUs.

    Used as a context; then `get_total_flops()` says how many there were (two a multiply-add).
    """
    attention = "_scaled_dot_product_flash_attention_for_cpu"
    known = {
        getattr(torch.ops.aten, attention): _attention_flops,
        getattr(torch.ops.aten, f"{attention}_backward"): _attention_gradient_flops,
    }
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        known[torch.ops.mkldnn._linear_pointwise] = _linear_flops
    return FlopCounterMode(display=False, custom_mapping=known)


def _attention_flops(
    queries: Sequence[int], keys: Sequence[int], values: Sequence[int], *_: Any, **__: Any
) -> int:
    """Operations of both products of attention, from shapes [B, heads, N, D / heads]."""
    return sdpa_flop_count(queries, keys, values)


def _attention_gradient_flops(*shapes: Any, **__: Any) -> int:
    """Operations of its backward pass, from shapes of the gradient, queries, keys and values."""
    return sdpa_backward_flop_count(*shapes[:4])


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
