"""A pre-norm transformer block (A. Dosovitskiy et al., 2021), its parameters named as in DeiT.

The project's own, because CAFM needs its attention, training on little memory its parts, and
readers a short start: timm's takes 190 MiB and over a second to import.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.recomputing import attend, gelu_linear, norm_linear


class Attention(nn.Module):
    """Multi-head self-attention.

    Attributes:
        fused: use the fused kernel, or plain matrix products; equal up to rounding.

    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.fused = True
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def split_heads(self, qkv: Tensor) -> Tensor:
        """What `qkv` gives, [B, N, 3 D] -> [B, N, 3, heads, D / heads]."""
        return qkv.unflatten(-1, (3, self.num_heads, -1))

    def with_weights(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] -> [B, N, D], and weights [B, heads, N, N] whose rows sum to 1."""
        query, key, value = self._heads(self.qkv(tokens))
        weights = ((query * self.scale) @ key.transpose(-2, -1)).softmax(dim=-1)
        return self._join(weights.to(value.dtype) @ value), weights

    def fused_of(self, qkv: Tensor) -> Tensor:
        """By the fused kernel: what `qkv` gives, [B, N, 3 D] -> [B, N, D]."""
        return self._join(F.scaled_dot_product_attention(*self._heads(qkv)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        if self.fused:
            return self.fused_of(self.qkv(tokens))
        return self.with_weights(tokens)[0]

    def _heads(self, qkv: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values, views [B, heads, N, D / heads]."""
        return self.split_heads(qkv).permute(2, 0, 3, 1, 4).unbind()

    def _join(self, mixed: Tensor) -> Tensor:
        """Values mixed by every head [B, heads, N, D / heads] -> [B, N, D]."""
        return self.proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class DropPath(nn.Module):
    """Leave out a residual branch of some images in training (G. Huang et al., 2016).

    Args:
        probability: of leaving it out, 0 to below 1; what is kept is scaled up, so that the mean
            stays.

    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """Branch [B, N, D] -> [B, N, D]."""
        if not self.training or not self.probability:
            return branch
        kept = 1 - self.probability
        return branch * branch.new_empty(branch.shape[0], 1, 1).bernoulli_(kept).div_(kept)


class TransformerBlock(nn.Module):
    """Attention and feed-forward network, each with a LayerNorm before and a sum after it.

    Attributes:
        recomputes: keep less for the backward pass (see `modules.recomputing`).

    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.recomputes = False
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, num_heads)
        self.drop_path1 = DropPath(0)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width)
        self.drop_path2 = DropPath(0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        if self.recomputes and torch.is_grad_enabled():
            return self._keeping_less(tokens)
        tokens = tokens + self.drop_path1(self.attn(self.norm1(tokens)))
        return self._feed_forward(tokens)

    def with_attention(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output [B, N, D], and its attention as the mean of the heads [B, N, N]."""
        mixed, weights = self.attn.with_weights(self.norm1(tokens))
        return self._feed_forward(tokens + self.drop_path1(mixed)), weights.mean(dim=1)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.drop_path2(self.mlp(self.norm2(tokens)))

    def _keeping_less(self, tokens: Tensor) -> Tensor:
        attn = self.attn
        qkv = norm_linear(self.norm1, attn.qkv, tokens)
        if attn.fused:
            mixed = attn.fused_of(qkv)
        else:
            mixed = attn.proj(attend(attn.split_heads(qkv), attn.scale))
        tokens = tokens + self.drop_path1(mixed)
        hidden = norm_linear(self.norm2, self.mlp.fc1, tokens)
        return tokens + self.drop_path2(gelu_linear(self.mlp.fc2, hidden))
