"""A linear layer and the cross entropy of its output, without ever holding all logits.

The heads of MGP-STR have 50,257 and 30,522 classes; the logits of a batch, their softmax and their
gradient would be the largest tensors of a training step by far.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.packed_linear import product_type

# Logits at a time. On a CPU 16 MiB in fp32, which its caches hold in part; GPUs, which are slow
# where products are small, have memory for 256 MiB.
CPU_LOGITS = 2**22
GPU_LOGITS = 2**26
# Logits have columns up to a multiple of this: GPUs' fast products want rows of whole 16 bytes
# (seen: without, those of 50,257 classes ran at a fifth of an H200's rate).
COLUMNS = {"cuda": 8}


def linear_cross_entropy(
    head: nn.Linear,
    features: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    chunk: int | None = None,
) -> Tensor:
    """Sum of the cross entropies of `head(features)`; equal to the plain one up to rounding.

    Logits are made for some positions at a time. As the loss is a plain sum, its gradient is known
    at once and is computed along, so nothing has to be computed a second time. Compilers must leave
    it alone: they would make it anew for each number of chunks, and PyTorch 2.11's loses the
    gradients that are kept on `ctx`, so that the encoder would learn nothing.

    Args:
        head: linear layer D -> classes, with a bias.
        features: [P, D].
        targets: int64 [P], each below the number of classes.
        smoothing: share of each target that is spread over all classes, 0 to below 1.
        chunk: positions at a time; None for as many as suit the device.

    """
    at_once = CPU_LOGITS if features.device.type == "cpu" else GPU_LOGITS
    chunk = chunk or max(1, at_once // head.out_features)
    return _LinearCrossEntropy.apply(features, head.weight, head.bias, targets, smoothing, chunk)


def _filled_up(values: Tensor, value: float) -> Tensor:
    """Rows up to a multiple of `COLUMNS`, as the logits' columns are to be."""
    missing = -len(values) % COLUMNS.get(values.device.type, 1)
    if not missing:
        return values
    return torch.cat([values, values.new_full((missing, *values.shape[1:]), value)])


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, bias, targets, smoothing, chunk):
        device = features.device.type
        dtype = product_type(features)
        # In no type below fp32 is a sum over so many classes exact enough.
        wide = torch.promote_types(dtype, torch.float32)
        learned = any(ctx.needs_input_grad[:3])
        with torch.autocast(device, enabled=False):
            classes = len(weight)
            cast_features = features.to(dtype)
            cast_weight = _filled_up(weight.to(dtype), 0.0)
            cast_bias = _filled_up(bias.to(dtype), -math.inf)
            total = torch.zeros((), dtype=wide, device=features.device)
            if learned:
                grad_features = torch.empty_like(features)
                grad_weight = torch.zeros_like(weight)
                grad_bias = torch.zeros_like(bias)
            for start in range(0, len(targets), chunk):
                part = cast_features[start : start + chunk]
                wanted = targets[start : start + chunk, None]
                logits = F.linear(part, cast_weight, cast_bias).to(wide)
                log_sums = logits.logsumexp(dim=-1, keepdim=True)
                total += (log_sums - (1 - smoothing) * logits.gather(1, wanted)).sum()
                if smoothing:
                    total -= smoothing * logits[:, :classes].mean(dim=-1).sum()
                if not learned:
                    continue
                gradient = logits.sub_(log_sums).exp_()  # the softmax
                if smoothing:
                    gradient[:, :classes] -= smoothing / classes
                gradient.scatter_add_(1, wanted, gradient.new_full(wanted.shape, smoothing - 1))
                grad_bias += gradient[:, :classes].sum(dim=0)
                gradient = gradient.to(dtype)
                grad_features[start : start + chunk] = gradient @ cast_weight
                gradient = gradient[:, :classes]
                if grad_weight.dtype == dtype:
                    grad_weight.addmm_(gradient.t(), part)
                else:
                    grad_weight += gradient.t() @ part
        # Not saved for a second time through: scaled in place, they need no more memory.
        ctx.gradients = (grad_features, grad_weight, grad_bias) if learned else None
        return total

    @staticmethod
    def backward(ctx, grad_total):
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("The loss of a head was sent backward a second time.")
        needed = ctx.needs_input_grad[:3]
        scaled = (
            gradient.mul_(grad_total.to(gradient.dtype)) if wanted else None
            for gradient, wanted in zip(gradients, needed, strict=True)
        )
        return *scaled, None, None, None
