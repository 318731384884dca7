"""Transformer blocks for reading, with their linear layers packed."""

from torch import Tensor, nn

from modules.packed_linear import PackedLinear, can_be_packed
from modules.transformer_block import TransformerBlock


class PackedBlock(nn.Module):
    """A `TransformerBlock` of packed layers; it doesn't learn.

    Args:
        block: whose weights `can_be_packed`; its attention and norms are taken over.

    """

    def __init__(self, block: TransformerBlock):
        super().__init__()
        self.norm1, self.norm2, self.attn = block.norm1, block.norm2, block.attn
        self.attn.qkv, self.attn.proj = PackedLinear(self.attn.qkv), PackedLinear(self.attn.proj)
        self.fc1, self.fc2 = PackedLinear(block.mlp.fc1, gelu=True), PackedLinear(block.mlp.fc2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        mixed, _ = self.attn.mix(self.attn.qkv(self.norm1(tokens)))
        return self._feed_forward(self.attn.proj(mixed, tokens))

    def with_attention(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output [B, N, D], and its attention as the mean of the heads [B, N, N]."""
        mixed, mean = self.attn.mix(self.attn.qkv(self.norm1(tokens)), averaged=True)
        return self._feed_forward(self.attn.proj(mixed, tokens)), mean

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.fc1(self.norm2(tokens)), tokens)


def pack_blocks(blocks: nn.ModuleList) -> None:
    """Put packed blocks in the place of those that can be."""
    for number, block in enumerate(blocks):
        if can_be_packed(block.attn.qkv.weight):
            blocks[number] = PackedBlock(block)
