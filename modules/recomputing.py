"""Parts of a transformer block that keep less for the backward pass, and compute it again there.

What a block keeps is most of a training step's memory: the attention of every head, the output of
each LayerNorm, and of GELU. All are cheap to make again from what has to be kept anyway. Each
function is equal to its plain counterpart up to rounding, and heeds autocast as that does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Attention weights at a time: as many as a processor's cache holds.
CHUNK_WEIGHTS = 2**20


def attend(qkv: Tensor, scale: float) -> Tensor:
    """Attention without the weights kept: softmax(scale * q k^T) v.

    Args:
        qkv: queries, keys and values of every head, [B, N, 3, heads, D / heads].
        scale: of the products.

    Returns:
        [B, N, D].

    """
    return _Attend.apply(qkv, scale)


def norm_linear(norm: nn.LayerNorm, linear: nn.Linear, values: Tensor) -> Tensor:
    """`linear(norm(values))` without the normalised values kept."""
    return _NormLinear.apply(values, norm.weight, norm.bias, norm.eps, linear.weight, linear.bias)


def gelu_linear(linear: nn.Linear, values: Tensor) -> Tensor:
    """`linear(gelu(values))` without the GELU's output kept."""
    return _GeluLinear.apply(values, linear.weight, linear.bias)


def _product_type(values: Tensor) -> torch.dtype:
    """Type of matrix products here, by autocast."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else values.dtype


def _weight_gradient(gradient: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    product = gradient.flatten(0, -2).t() @ inputs.to(gradient.dtype).flatten(0, -2)
    return product.to(weight.dtype)


def _bias_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    return gradient.flatten(0, -2).sum(dim=0, dtype=weight.dtype)


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, norm_weight, norm_bias, eps, weight, bias):
        dtype = _product_type(values)
        shape = norm_weight.shape
        with torch.autocast(values.device.type, enabled=False):
            # As autocast does: the norm in fp32 at least.
            wide = values.to(norm_weight.dtype)
            normed, mean, inverse = torch.native_layer_norm(
                wide, shape, norm_weight, norm_bias, eps
            )
            result = F.linear(normed.to(dtype), weight.to(dtype), bias.to(dtype))
        ctx.save_for_backward(values, norm_weight, norm_bias, mean, inverse, weight)
        return result

    @staticmethod
    def backward(ctx, gradient):
        values, norm_weight, norm_bias, mean, inverse, weight = ctx.saved_tensors
        shape = norm_weight.shape
        wide = values.to(norm_weight.dtype)
        normed = ((wide - mean) * inverse).mul_(norm_weight).add_(norm_bias)
        grad_weight = _weight_gradient(gradient, normed, weight)
        del normed
        grad_normed = gradient @ weight.to(gradient.dtype)
        grad_bias = _bias_gradient(gradient, weight)
        grad_values, grad_norm_weight, grad_norm_bias = torch.ops.aten.native_layer_norm_backward(
            grad_normed.to(wide.dtype),
            wide,
            shape,
            mean,
            inverse,
            norm_weight,
            norm_bias,
            [True, True, True],
        )
        grad_values = grad_values.to(values.dtype)
        return grad_values, grad_norm_weight, grad_norm_bias, None, grad_weight, grad_bias


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, bias):
        dtype = _product_type(values)
        with torch.autocast(values.device.type, enabled=False):
            result = F.linear(F.gelu(values).to(dtype), weight.to(dtype), bias.to(dtype))
        ctx.save_for_backward(values, weight)
        return result

    @staticmethod
    def backward(ctx, gradient):
        values, weight = ctx.saved_tensors
        grad_weight = _weight_gradient(gradient, F.gelu(values), weight)
        grad_activated = gradient @ weight.to(gradient.dtype)
        grad_values = torch.ops.aten.gelu_backward(grad_activated.to(values.dtype), values)
        return grad_values, grad_weight, _bias_gradient(gradient, weight)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, scale):
        ctx.save_for_backward(qkv)
        ctx.scale = scale
        batch, number, _, heads, size = qkv.shape
        result = qkv.new_empty(batch, number, heads, size)
        with torch.autocast(qkv.device.type, enabled=False):
            for part in _parts(qkv):
                query, key, value = _heads(qkv[part])
                weights = _weights(query, key, scale)
                result[part] = (weights @ value).transpose(1, 2)
        return result.flatten(2)

    @staticmethod
    def backward(ctx, gradient):
        (qkv,) = ctx.saved_tensors
        gradient = gradient.unflatten(2, qkv.shape[3:])
        result = torch.empty_like(qkv)
        for part in _parts(qkv):
            query, key, value = _heads(qkv[part])
            weights = _weights(query, key, ctx.scale)
            own = gradient[part].transpose(1, 2)
            inner = own @ value.transpose(-2, -1)
            inner = torch.ops.aten._softmax_backward_data(inner, weights, -1, weights.dtype)
            inner *= ctx.scale
            into_query, into_key, into_value = _heads(result[part])
            into_query.copy_(inner @ key)
            into_key.copy_(inner.transpose(-2, -1) @ query)
            into_value.copy_(weights.transpose(-2, -1) @ own)
        return result, None


def _parts(qkv: Tensor) -> list[slice]:
    """Images at a time."""
    batch, number, _, heads, _ = qkv.shape
    size = max(1, CHUNK_WEIGHTS // (heads * number * number))
    return [slice(start, start + size) for start in range(0, batch, size)]


def _heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, views [B, heads, N, D / heads]."""
    return qkv.permute(2, 0, 3, 1, 4).unbind()


def _weights(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """[B, heads, N, N], rows sum to 1."""
    products = (query * scale) @ key.transpose(-2, -1)
    return products.softmax(dim=-1)
