"""A linear layer and the cross entropy of its output, without ever holding all logits.

The heads of MGP-STR have 50,257 and 30,522 classes; the logits of a batch, their softmax and their
gradient would be the largest tensors of a training step by far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.packed_linear import product_type

# Logits of the positions that go together: on a CPU 64 MiB in fp32, on a GPU 256 MiB.
CPU_LOGITS = 2**24
GPU_LOGITS = 2**26
# Classes of these that go together. A CPU's caches hold the logits of so many, and their weights;
# GPUs are slow where products are small.
CLASSES_AT_ONCE = {"cpu": 4096}
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

    Logits are made for some positions at a time, and on CPUs worked on by some classes of them. As
    the loss is a plain sum, its gradient is known at once and is computed along, so nothing has to
    be computed a second time. Compilers must leave it alone: they would make it anew for each
    number of chunks, and PyTorch 2.11's loses the gradients that are kept on `ctx`, so that the
    encoder would learn nothing.

    Args:
        head: linear layer D -> classes, with a bias.
        features: [P, D].
        targets: int64 [P], each below the number of classes.
        smoothing: share of each target that is spread over all classes, 0 to below 1.
        chunk: positions at a time; None for as many as suit the device.

    """
    at_once = CPU_LOGITS if features.device.type == "cpu" else GPU_LOGITS
    chunk = chunk or max(1, at_once // head.out_features)
    learned = torch.is_grad_enabled() and any(
        values.requires_grad for values in (features, head.weight, head.bias)
    )
    return _LinearCrossEntropy.apply(
        features, head.weight, head.bias, targets, smoothing, chunk, learned
    )


def _filled_up(values: Tensor, value: float) -> Tensor:
    """Rows up to a multiple of `COLUMNS`, as the logits' columns are to be."""
    missing = -len(values) % COLUMNS.get(values.device.type, 1)
    if not missing:
        return values
    return torch.cat([values, values.new_full((missing, *values.shape[1:]), value)])


@dataclass(frozen=True)
class _Exponentials:
    """Of the logits of some positions, for some of the classes.

    Attributes:
        classes: which these are.
        places: of the targets among them, [P, 1]; anywhere for targets of other classes.
        inside: whether a target is one of them, [P, 1].
        values: exp(logits - highest), [P, classes]; 0 for the targets.
        highest: logit of each position, [P, 1].
        sums: of the values, [P, 1].

    """

    classes: slice
    places: Tensor
    inside: Tensor
    values: Tensor
    highest: Tensor
    sums: Tensor


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, bias, targets, smoothing, chunk, learned):
        device = features.device.type
        dtype = product_type(features)
        # In no type below fp32 is a sum over so many classes exact enough.
        wide = torch.promote_types(dtype, torch.float32)
        with torch.autocast(device, enabled=False):
            cast_features = features.to(dtype)
            cast_weight = _filled_up(weight.to(dtype), 0.0)
            cast_bias = _filled_up(bias.to(dtype), -math.inf)
            total = torch.zeros((), dtype=wide, device=features.device)
            if learned:
                # The first positions fill them, where there are any.
                new = torch.empty_like if len(targets) else torch.zeros_like
                gradients = [new(values) for values in (features, weight, bias)]
                grad_features, grad_weight, grad_bias = gradients
            for start in range(0, len(targets), chunk):
                part = cast_features[start : start + chunk]
                wanted = targets[start : start + chunk, None]
                slabs, own = _exponentials(part, wanted, cast_weight, cast_bias, len(weight), wide)
                each = torch.cat([slab.highest for slab in slabs], dim=1)
                highest = each.amax(dim=1, keepdim=True)
                factors = (each - highest).exp_()
                others = factors * torch.cat([slab.sums for slab in slabs], dim=1)
                others = others.sum(dim=1, keepdim=True)
                divisor = others + (own - highest).exp_()
                total += (highest - own + divisor.log() + smoothing * own).sum()
                if learned:
                    factors /= divisor
                    # The softmax less 1, from the others' sum: exact even if next to nothing.
                    of_own = smoothing - others / divisor
                    moved = grad_weight, grad_bias
                    found = _find_gradients(
                        slabs, factors, of_own, part, cast_weight, moved, adds=start > 0
                    )
                    # The targets' share, which is the largest, is not rounded in a product.
                    found.addcmul_(of_own, weight[wanted[:, 0]].to(wide))
                    grad_features[start : start + chunk] = found
            if smoothing:
                summed, mean_weight = features.sum(0, dtype=wide), weight.mean(0, dtype=wide)
                mean_logits = summed @ mean_weight + len(targets) * bias.mean(dtype=wide)
                total -= smoothing * mean_logits
                if learned:
                    grad_features -= (smoothing * mean_weight).to(features.dtype)
                    grad_weight -= (smoothing / len(weight) * summed).to(weight.dtype)
                    grad_bias -= smoothing / len(weight) * len(targets)
        # Kept here, not saved: the backward pass scales them in place, and can run only once.
        ctx.gradients = gradients if learned else None
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
        return *scaled, None, None, None, None


def _exponentials(
    features: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor,
    classes: int,
    wide: torch.dtype,
) -> tuple[list[_Exponentials], Tensor]:
    """Of features [P, D], and the logits of the targets [P, 1]; both in the type of sums."""
    at_once = CLASSES_AT_ONCE.get(weight.device.type, classes)
    own = torch.empty(targets.shape, dtype=wide, device=targets.device)
    slabs = []
    for first in range(0, classes, at_once):
        end = first + at_once if first + at_once < classes else len(weight)
        logits = F.linear(features, weight[first:end], bias[first:end]).to(wide)
        places = (targets - first).clamp(0, logits.shape[1] - 1)
        inside = places + first == targets
        own = torch.where(inside, logits.gather(1, places), own)
        highest = logits.amax(dim=1, keepdim=True)
        values = logits.sub_(highest).exp_()
        values.scatter_(1, places, values.gather(1, places).masked_fill(inside, 0))
        sums = values.sum(dim=1, keepdim=True)
        slabs.append(_Exponentials(slice(first, end), places, inside, values, highest, sums))
    return slabs, own


def _find_gradients(
    slabs: Sequence[_Exponentials],
    factors: Tensor,
    of_own: Tensor,
    features: Tensor,
    weight: Tensor,
    head: tuple[Tensor, Tensor],
    adds: bool,
) -> Tensor:
    """Fill in those of the head; return the features' [P, D] without the targets' share.

    Args:
        slabs: exponentials, which are used up.
        factors: that make them the softmax, [P, slabs].
        of_own: gradients of the targets' logits, [P, 1].
        features: [P, D].
        weight: of the head, in the products' type.
        head: gradients of its weight and bias.
        adds: to what they hold; it is overwritten otherwise.

    """
    grad_weight, grad_bias = head
    grad_features = torch.zeros(features.shape, dtype=factors.dtype, device=features.device)
    for slab, factor in zip(slabs, factors.split(1, dim=1), strict=True):
        softmax = slab.values.mul_(factor)
        grad_features += softmax.to(weight.dtype) @ weight[slab.classes]
        own = torch.where(slab.inside, of_own, softmax.gather(1, slab.places))
        softmax.scatter_(1, slab.places, own)
        count = len(grad_weight) - slab.classes.start  # without what fills up
        gradient = softmax[:, :count].t()
        _put(grad_bias[slab.classes], gradient.sum(dim=1), adds)
        gradient, moved = gradient.to(weight.dtype), grad_weight[slab.classes]
        if moved.dtype == gradient.dtype:
            moved.addmm_(gradient, features, beta=int(adds))
        else:
            _put(moved, gradient @ features, adds)
    return grad_features


def _put(place: Tensor, values: Tensor, adds: bool) -> None:
    """Values into a place of the same shape, or onto what is there."""
    if adds:
        place += values
    else:
        place.copy_(values)
