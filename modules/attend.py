"""Attention as one function, with a backward pass written by hand.

On CPUs it takes less time than automatic differentiation: no copies of what is scaled, transposed
or put together, and the mean over the heads costs next to nothing. It can also do without keeping
the attention weights, which are a large part of a training step's memory.
"""

import math

import torch
from torch import Tensor

# Attention weights at a time: as many as a processor's cache holds.
CHUNK_WEIGHTS = 2**21
# Sums of exponentials between which none of those that matter has overflown or lost digits.
LOWEST_SUM, HIGHEST_SUM = 2.0**-60, 2.0**120


def attend(
    qkv: Tensor, scale: float, keeps: bool = True, averaged: bool = False
) -> tuple[Tensor, Tensor | None]:
    """softmax(scale * q k^T) v, equal to the plain products up to rounding.

    Args:
        qkv: queries, keys and values of every head, [B, N, 3, heads, D / heads].
        scale: of the products.
        keeps: the attention weights for the backward pass, which computes them again otherwise.
        averaged: also give the weights' mean over the heads.

    Returns:
        [B, N, D], and the mean [B, N, N] or None.

    """
    return _Attend.apply(qkv, scale, keeps, averaged)


def attend_without_gradient(qkv: Tensor, scale: float) -> Tensor:
    """What `attend` gives, [B, N, D], in less time, where nothing is learned.

    Powers of two take less time than a softmax, and need no maxima but where they overflow; what
    comes out has fewer numbers to divide by their sums than there are weights.
    """
    query, key, value = _by_head(qkv)
    heads = qkv.shape[3]
    weights = _scaled_product(query, key.transpose(1, 2), scale * math.log2(math.e)).exp2_()
    sums = weights.sum(dim=-1, keepdim=True)
    lowest, highest = sums.aminmax() if sums.numel() else (1, 1)
    if lowest > LOWEST_SUM and highest < HIGHEST_SUM:
        mixed = (weights @ value).div_(sums)
    else:
        mixed = _weights(query, key, scale) @ value
    return _by_image(mixed, heads).transpose(1, 2).flatten(2)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, scale, keeps, averaged):
        batch, number, _, heads, size = qkv.shape
        result = qkv.new_empty(batch, number, heads, size)
        mean = qkv.new_empty(batch, number, number) if averaged else None
        kept = qkv.new_empty(batch * heads, number, number) if keeps else None
        with torch.autocast(qkv.device.type, enabled=False):
            for part in _parts(qkv.shape):
                query, key, value = _by_head(qkv[part])
                own = kept[_of_heads(part, heads)] if keeps else None
                weights = _weights(query, key, scale, own)
                result[part] = _by_image(weights @ value, heads).transpose(1, 2)
                if averaged:
                    # PyTorch's mean makes a copy in fp32.
                    torch.sum(_by_image(weights, heads), dim=1, out=mean[part]).div_(heads)
        ctx.save_for_backward(qkv, kept)
        ctx.scale, ctx.averaged = scale, averaged
        return result.flatten(2), mean

    @staticmethod
    def backward(ctx, gradient, mean_gradient):
        qkv, kept = ctx.saved_tensors
        heads, size = qkv.shape[3:]
        gradient = gradient.unflatten(2, (heads, size))
        result = torch.empty_like(qkv)
        for part in _parts(qkv.shape):
            query, key, value = _by_head(qkv[part])
            if kept is None:
                weights = _weights(query, key, ctx.scale)
            else:
                weights = kept[_of_heads(part, heads)]
            own = gradient[part].transpose(1, 2).flatten(0, 1)
            inner = own @ value.transpose(1, 2)
            if ctx.averaged:
                _by_image(inner, heads).add_(mean_gradient[part, None], alpha=1 / heads)
            inner = torch.ops.aten._softmax_backward_data(inner, weights, -1, weights.dtype)
            found = own.new_empty(3, *own.shape)
            _scaled_product(inner, key, ctx.scale, out=found[0])
            _scaled_product(inner.transpose(1, 2), query, ctx.scale, out=found[1])
            torch.bmm(weights.transpose(1, 2), own, out=found[2])
            result[part] = found.unflatten(1, (-1, heads)).permute(1, 3, 0, 2, 4)
        return result, None, None, None


def _parts(shape: torch.Size) -> list[slice]:
    """Images at a time."""
    batch, number, _, heads, _ = shape
    size = max(1, CHUNK_WEIGHTS // (heads * number * number))
    return [slice(start, min(start + size, batch)) for start in range(0, batch, size)]


def _of_heads(images: slice, heads: int) -> slice:
    """Rows of [B * heads, ...] that belong to some images."""
    return slice(images.start * heads, images.stop * heads)


def _by_head(qkv: Tensor) -> Tensor:
    """Queries, keys and values, [B, N, 3, heads, D / heads] -> [3, B * heads, N, D / heads]."""
    return qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)


def _by_image(values: Tensor, heads: int) -> Tensor:
    """[B * heads, ...] -> [B, heads, ...]."""
    return values.unflatten(0, (-1, heads))


def _weights(query: Tensor, key: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """[B * heads, N, N], rows sum to 1."""
    products = _scaled_product(query, key.transpose(1, 2), scale)
    return torch.softmax(products, dim=-1, out=out)


def _scaled_product(one: Tensor, other: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """scale * one @ other, without a pass of its own for the scale."""
    ignored = one.new_empty(1, 1, 1)
    return torch.baddbmm(ignored, one, other, beta=0, alpha=scale, out=out)
