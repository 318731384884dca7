"""Parts of a transformer block that keep less for the backward pass, and compute it again there.

What a block keeps is most of a training step's memory: the attention of every head (see
`modules.attend`), the output of each LayerNorm, and of GELU. All are cheap to make again from what
has to be kept anyway. Each function is equal to its plain counterpart up to rounding, and heeds
autocast as that does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.packed_linear import (
    bias_gradient,
    input_gradient,
    product,
    product_type,
    weight_gradient,
)


def norm_linear(norm: nn.LayerNorm, linear: nn.Linear, values: Tensor) -> Tensor:
    """`linear(norm(values))` without the normalised values kept."""
    return _NormLinear.apply(values, norm.weight, norm.bias, norm.eps, linear.weight, linear.bias)


def gelu_linear(linear: nn.Linear, values: Tensor) -> Tensor:
    """`linear(gelu(values))` without the GELU's output kept."""
    return _GeluLinear.apply(values, linear.weight, linear.bias)


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, norm_weight, norm_bias, eps, weight, bias):
        dtype = product_type(values)
        shape = norm_weight.shape
        with torch.autocast(values.device.type, enabled=False):
            # As autocast does: the norm in fp32 at least.
            wide = values.to(norm_weight.dtype)
            normed, mean, inverse = torch.native_layer_norm(
                wide, shape, norm_weight, norm_bias, eps
            )
            result = product(normed.to(dtype), weight.to(dtype), bias.to(dtype))
        ctx.save_for_backward(values, norm_weight, norm_bias, mean, inverse, weight)
        return result

    @staticmethod
    def backward(ctx, gradient):
        values, norm_weight, norm_bias, mean, inverse, weight = ctx.saved_tensors
        shape = norm_weight.shape
        wide = values.to(norm_weight.dtype)
        normed = (wide - mean).mul_(inverse).mul_(norm_weight).add_(norm_bias)
        grad_weight = weight_gradient(gradient, normed, weight.dtype)
        del normed
        grad_normed = input_gradient(gradient, weight)
        grad_bias = bias_gradient(gradient, weight.dtype)
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
        dtype = product_type(values)
        with torch.autocast(values.device.type, enabled=False):
            result = product(F.gelu(values).to(dtype), weight.to(dtype), bias.to(dtype))
        ctx.save_for_backward(values, weight)
        return result

    @staticmethod
    def backward(ctx, gradient):
        values, weight = ctx.saved_tensors
        grad_weight = weight_gradient(gradient, F.gelu(values), weight.dtype)
        grad_activated = input_gradient(gradient, weight)
        grad_values = grad_activated.to(values.dtype)
        torch.ops.aten.gelu_backward(grad_values, values, grad_input=grad_values)  # in place
        return grad_values, grad_weight, bias_gradient(gradient, weight.dtype)
