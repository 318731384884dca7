"""A3, Adaptive Addressing and Aggregation (MGP-STR, section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modules.pointwise import as_matrix, pair_as_matrix

GROUPS = 8


class A3(nn.Module):
    """Learns T attention maps over the tokens, and aggregates T features with them.

    Attribute names are those of the official state dict.

    Attributes:
        recomputes: keep nothing but the tokens for the backward pass; the rest, an eighth of a
            linear layer's work, is computed again there.
        folds: compute as `aggregate` does, equal up to rounding.

    """

    recomputes = folds = False

    def __init__(self, width: int, positions: int):
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.tokenLearner = nn.Sequential(
            nn.Conv2d(width, width, 1, groups=GROUPS, bias=False),
            nn.Conv2d(width, positions, 1, bias=False),
        )
        self.feat = nn.Conv2d(width, width, 1, groups=GROUPS, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] -> attention [B, T, N] (rows sum to 1), features [B, T, D]."""
        if self.recomputes and torch.is_grad_enabled():
            return checkpoint(
                self._aggregate, tokens, use_reentrant=False, preserve_rng_state=False
            )
        return self._aggregate(tokens)

    def _aggregate(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.token_norm(tokens)
        if self.folds:
            attention, features = aggregate(tokens, *self.matrices())
            return attention, self.norm(features)
        columns = tokens.transpose(1, 2).unsqueeze(-1)  # [B, D, N, 1]
        attention = self.tokenLearner(columns).flatten(2).softmax(dim=-1)
        values = self.feat(columns).flatten(2).transpose(1, 2)  # [B, N, D]
        return attention, self.norm(torch.bmm(attention.to(values.dtype), values))

    def matrices(self) -> tuple[Tensor, Tensor]:
        """What `aggregate` takes: tokens to positions [T, D], tokens to features [D, D]."""
        return pair_as_matrix(self.tokenLearner), as_matrix(self.feat)


def aggregate(tokens: Tensor, positions: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """A3 between its norms, with less work: T features instead of N.

    The two convolutions that address are linear, so that one matrix does for both; and so is the
    one that makes features, which may follow the attention.

    Args:
        tokens: [B, N, D].
        positions, values: of `A3.matrices`.

    Returns:
        Attention [B, T, N], whose rows sum to 1, and features [B, T, D].

    """
    attention = (positions @ tokens.transpose(1, 2)).softmax(dim=-1)
    return attention, F.linear(attention.to(tokens.dtype) @ tokens, values)
