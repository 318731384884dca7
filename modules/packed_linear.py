"""Linear layers with their weights in oneDNN's own layout: the fastest products on x86 CPUs.

The operators are those that torch.compile emits. They have no gradient of their own.
"""

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Classes of a wide layer that go together. Fewer find their logits in a nearer cache, more have a
# single image read sooner.
AT_ONCE = {torch.float32: 4096, torch.bfloat16: 2048}


def can_be_packed(weight: Tensor) -> bool:
    """Whether this machine and this PyTorch have the operators for such weights."""
    mkldnn = torch.ops.mkldnn
    return (
        weight.device.type == "cpu"
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and all(hasattr(mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
        and (
            weight.dtype == torch.float32
            or (weight.dtype == torch.bfloat16 and mkldnn._is_mkldnn_bf16_supported())
        )
    )


def gelu_fits_product() -> bool:
    """Whether oneDNN's GELU takes less time in the product's own pass than PyTorch's after it.

    Without AVX-512 (AMD Zen 3) it adds 60% to a product of width 192, PyTorch's 25%.
    """
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class PackedLinear(nn.Module):
    """A linear layer for reading, and its GELU where asked for; equal up to rounding.

    Args:
        linear: whose weights `can_be_packed`; they are copied.
        gelu: of its results.
        outputs: which of the layer's outputs to compute.

    """

    def __init__(self, linear: nn.Linear, gelu: bool = False, outputs: slice = slice(None)):
        super().__init__()
        # Not a buffer: nothing but the product, and copying, understands this tensor.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach()[outputs])
        self.register_buffer("bias", linear.bias.detach()[outputs].clone())
        in_pass = gelu and gelu_fits_product()
        self._in_pass = ("gelu", [], "none") if in_pass else ("none", [], "")
        self._gelu_after = gelu and not in_pass

    def __getstate__(self) -> dict:
        # As an array: a tensor is handed to another process by its memory, which ends with it.
        weight = self._packed.to_dense()
        array = weight.view(torch.uint8).numpy()
        return {**super().__getstate__(), "_packed": (array, weight.dtype)}

    def __setstate__(self, state: dict) -> None:
        array, dtype = state["_packed"]
        weight = torch.from_numpy(array).view(dtype)
        super().__setstate__(state | {"_packed": torch.ops.mkldnn._reorder_linear_weight(weight)})

    def forward(self, values: Tensor, base: Tensor | None = None) -> Tensor:
        """Values [..., in] -> [..., out].

        Args:
            values: inputs.
            base: [..., out] that the results are added to; not for a layer with GELU.

        """
        product = torch.ops.mkldnn._linear_pointwise
        if base is not None:
            return product.binary(values, base, self._packed, self.bias, "add")
        found = product(values, self._packed, self.bias, *self._in_pass)
        return torch.ops.aten.gelu_(found) if self._gelu_after else found


class PackedClasses(nn.Module):
    """A wide linear layer for reading, packed in parts.

    Args:
        linear: whose weights `can_be_packed`; they are copied.

    Attributes:
        at_once: classes of each part; the last may have fewer.
        parts: `PackedLinear`s.

    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.at_once = AT_ONCE[linear.weight.dtype]
        self.parts = nn.ModuleList(
            PackedLinear(linear, outputs=slice(first, first + self.at_once))
            for first in range(0, linear.out_features, self.at_once)
        )


class Linear(nn.Linear):
    """A linear layer that can be told to pack its weights at every call, and learns all the same.

    Attributes:
        packs: pack them, where that can be done; equal up to rounding. In training, packing costs
            little beside the product of a batch.

    """

    packs = False

    def forward(self, values: Tensor) -> Tensor:
        """Values [..., in] -> [..., out]."""
        if self.packs:
            return _Linear.apply(values, self.weight, self.bias)
        return super().forward(values)


def product_type(values: Tensor) -> torch.dtype:
    """Type of matrix products here, by autocast."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else values.dtype


def product(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, in its backward pass or with one written by hand: packed where possible."""
    if torch.compiler.is_compiling() or not can_be_packed(weight):  # compilers pack by themselves
        return F.linear(values, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
    return torch.ops.mkldnn._linear_pointwise(values, packed, bias, "none", [], "")


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient of a linear layer's inputs [..., in], from its outputs' and weights [out, in]."""
    weight = weight.to(gradient.dtype)
    if gradient.dtype == torch.bfloat16:  # as fast as packed, and packing takes time
        return gradient @ weight
    return product(gradient, weight.t())


def weight_gradient(gradient: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Gradient of a linear layer's weights [out, in], from its outputs' and inputs [..., in]."""
    found = gradient.flatten(0, -2).t() @ inputs.to(gradient.dtype).flatten(0, -2)
    return found.to(dtype)


def bias_gradient(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """Gradient of a linear layer's bias [out], from its outputs' [..., out]."""
    gradient = gradient.flatten(0, -2)
    if gradient.dtype == torch.bfloat16:  # a product, which sums in fp32, in a fifth of the time
        return (gradient.new_ones(1, len(gradient)) @ gradient)[0].to(dtype)
    return gradient.sum(dim=0, dtype=dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, bias):
        dtype = product_type(values)
        with torch.autocast(values.device.type, enabled=False):
            cast_values, cast_weight = values.to(dtype), weight.to(dtype)
            ctx.save_for_backward(cast_values, cast_weight)
            ctx.dtypes = values.dtype, weight.dtype
            return product(cast_values, cast_weight, bias.to(dtype))

    @staticmethod
    def backward(ctx, gradient):
        values, weight = ctx.saved_tensors
        values_dtype, weight_dtype = ctx.dtypes
        return (
            input_gradient(gradient, weight).to(values_dtype),
            weight_gradient(gradient, values, weight_dtype),
            bias_gradient(gradient, weight_dtype),
        )
