"""Linear layers with their weights in oneDNN's own layout: the fastest products on x86 CPUs.

The operators are those that torch.compile emits. They have no gradient, so this is for reading.
"""

import platform

import torch
from torch import Tensor, nn

from modules.transformer_block import FeedForward, TransformerBlock


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


class PackedLinear(nn.Module):
    """A linear layer, and a GELU after it where asked for; equal up to rounding.

    Args:
        linear: whose weights `can_be_packed`; they are copied.
        gelu: in the same pass, while the results are in the cache.

    """

    def __init__(self, linear: nn.Linear, gelu: bool = False):
        super().__init__()
        # Not a buffer: nothing but the product understands this tensor.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.register_buffer("bias", linear.bias.detach())
        self._after = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(self, values: Tensor) -> Tensor:
        """Values [..., in] -> [..., out]."""
        return torch.ops.mkldnn._linear_pointwise(values, self._packed, self.bias, *self._after)


class PackedFeedForward(nn.Module):
    """A `FeedForward` of packed layers."""

    def __init__(self, mlp: FeedForward):
        super().__init__()
        self.fc1, self.fc2 = PackedLinear(mlp.fc1, gelu=True), PackedLinear(mlp.fc2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        return self.fc2(self.fc1(tokens))


def pack_blocks(model: nn.Module) -> None:
    """Pack the linear layers of a model's transformer blocks, where that can be done."""
    for block in model.modules():
        if isinstance(block, TransformerBlock) and can_be_packed(block.attn.qkv.weight):
            block.attn.qkv = PackedLinear(block.attn.qkv)
            block.attn.proj = PackedLinear(block.attn.proj)
            block.mlp = PackedFeedForward(block.mlp)
