"""A pre-norm transformer block (A. Dosovitskiy et al., 2021), its parameters named as in DeiT.

The project's own, because CAFM needs its attention, training on little memory its parts, and
readers a short start: timm's takes 190 MiB and over a second to import.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.attend import attend, attend_without_gradient
from modules.packed_linear import Linear
from modules.recomputing import gelu_linear, norm_linear


class Attention(nn.Module):
    """Multi-head self-attention.

    Attributes:
        fused: use the fused kernel, or plain matrix products; equal up to rounding.
        by_hand: where that is not used, take `modules.attend`; equal up to rounding.

    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.fused, self.by_hand = True, False
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def split_heads(self, qkv: Tensor) -> Tensor:
        """What `qkv` gives, [B, N, 3 D] -> [B, N, 3, heads, D / heads]."""
        return qkv.unflatten(-1, (3, self.num_heads, -1))

    def mix(
        self, qkv: Tensor, keeps: bool = True, averaged: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """What `qkv` gives, [B, N, 3 D] -> what `proj` takes, and the weights' mean over the heads.

        Args:
            qkv: of the tokens.
            keeps: the weights for the backward pass; the fused kernel never does.
            averaged: give the mean [B, N, N], whose rows sum to 1, and not None; not by the fused
                kernel, which has no weights to show.

        Returns:
            [B, N, D], and the mean or None.

        """
        split = self.split_heads(qkv)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind()  # [B, heads, N, D / heads]
        mean = None
        if self.fused and not averaged:
            mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        elif self.by_hand and not averaged and not torch.is_grad_enabled():
            mixed = attend_without_gradient(split, self.scale)
        elif self.by_hand or not keeps:
            mixed, mean = attend(split, self.scale, keeps, averaged)
        else:
            weights = ((query * self.scale) @ key.transpose(-2, -1)).softmax(dim=-1)
            mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
            mean = weights.mean(dim=1) if averaged else None
        return mixed, mean

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        return self.proj(self.mix(self.qkv(tokens))[0])


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = Linear(width, 4 * width)
        self.fc2 = Linear(4 * width, width)

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
        keeps = not (self.recomputes and torch.is_grad_enabled())
        mixed, mean = self.attn.mix(self.attn.qkv(self.norm1(tokens)), keeps, averaged=True)
        return self._feed_forward(tokens + self.drop_path1(self.attn.proj(mixed))), mean

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.drop_path2(self.mlp(self.norm2(tokens)))

    def _keeping_less(self, tokens: Tensor) -> Tensor:
        mixed, _ = self.attn.mix(norm_linear(self.norm1, self.attn.qkv, tokens), keeps=False)
        tokens = tokens + self.drop_path1(self.attn.proj(mixed))
        hidden = norm_linear(self.norm2, self.mlp.fc1, tokens)
        return tokens + self.drop_path2(gelu_linear(self.mlp.fc2, hidden))
