"""Attention as one function, with a backward pass written by hand.

On CPUs it takes less time than automatic differentiation: no copies of what is scaled, transposed
or put together, and the mean over the heads costs next to nothing. It can also do without keeping
the attention weights, which are a large part of a training step's memory.
"""

import torch
from torch import Tensor

# Attention weights at a time, where they are not kept: as many as a processor's cache holds.
CHUNK_WEIGHTS = 2**20


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


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, scale, keeps, averaged):
        batch, number, _, heads, size = qkv.shape
        result = qkv.new_empty(batch, number, heads, size)
        mean = qkv.new_empty(batch, number, number) if averaged else None
        with torch.autocast(qkv.device.type, enabled=False):
            for part in _parts(qkv, keeps):
                query, key, value = by_head = _by_head(qkv[part])
                weights = _weights(query, key, scale)
                result[part] = _by_image(weights @ value, heads).transpose(1, 2)
                if averaged:
                    torch.mean(_by_image(weights, heads), dim=1, out=mean[part])
        ctx.save_for_backward(*((by_head, weights) if keeps else (qkv,)))
        ctx.shape, ctx.scale, ctx.keeps, ctx.averaged = qkv.shape, scale, keeps, averaged
        return result.flatten(2), mean

    @staticmethod
    def backward(ctx, gradient, mean_gradient):
        _, _, _, heads, size = ctx.shape
        gradient = gradient.unflatten(2, (heads, size))
        result = gradient.new_empty(ctx.shape)
        for part in _parts(result, ctx.keeps):
            if ctx.keeps:
                (query, key, value), weights = ctx.saved_tensors
            else:
                query, key, value = _by_head(ctx.saved_tensors[0][part])
                weights = _weights(query, key, ctx.scale)
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


def _parts(qkv: Tensor, at_once: bool) -> list[slice]:
    """Images at a time."""
    batch, number, _, heads, _ = qkv.shape
    size = batch if at_once else CHUNK_WEIGHTS // (heads * number * number)
    size = max(1, size)
    return [slice(start, start + size) for start in range(0, max(1, batch), size)]


def _by_head(qkv: Tensor) -> Tensor:
    """Queries, keys and values, [B, N, 3, heads, D / heads] -> [3, B * heads, N, D / heads]."""
    return qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)


def _by_image(values: Tensor, heads: int) -> Tensor:
    """[B * heads, ...] -> [B, heads, ...]."""
    return values.unflatten(0, (-1, heads))


def _weights(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """[B * heads, N, N], rows sum to 1."""
    return _scaled_product(query, key.transpose(1, 2), scale).softmax(dim=-1)


def _scaled_product(one: Tensor, other: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """scale * one @ other, without a pass of its own for the scale."""
    ignored = one.new_empty(1, 1, 1)
    return torch.baddbmm(ignored, one, other, beta=0, alpha=scale, out=out)
