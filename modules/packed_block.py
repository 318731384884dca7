"""Transformer blocks for reading, with their linear layers packed."""

from torch import Tensor, nn

from modules.packed_linear import PackedLinear, can_be_packed
from modules.transformer_block import FeedForward, TransformerBlock


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
