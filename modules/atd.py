"""ATD, the adaptive transformation decoder of ACDS-STR (reference facts)."""

import torch.nn.functional as F
from torch import Tensor, nn

from modules.a3 import GROUPS
from modules.pointwise import pair_as_matrix


class ATD(nn.Module):
    """Tokens to positions, then channels to classes; linear but for two LayerNorms.

    The last LayerNorm makes the logits. Attribute names are those of the official state dict.

    Attributes:
        folds: compute each pair of convolutions as one matrix, equal up to rounding.

    """

    folds = False

    def __init__(self, num_tokens: int, width: int, positions: int, classes: int):
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.tokenLearner1 = nn.Sequential(
            nn.Conv2d(num_tokens, num_tokens, 1, bias=False),
            nn.Conv2d(num_tokens, positions, 1, bias=False),
        )
        self.tokenLearner2 = nn.Sequential(
            nn.Conv2d(width, width, 1, groups=GROUPS, bias=False),
            nn.Conv2d(width, classes, 1, bias=False),
        )
        self.norm_1 = nn.LayerNorm(classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> logits [B, T, classes]."""
        tokens = self.token_norm(tokens)
        if self.folds:
            return self.norm_1(decode(tokens, *self.matrices()))
        features = self.tokenLearner1(tokens.unsqueeze(-1))  # [B, T, D, 1]
        return self.norm_1(self.tokenLearner2(features.transpose(1, 2)).flatten(2).transpose(1, 2))

    def token_weights(self) -> Tensor:
        """How much of each token goes into each position, [T, N]: the same for every image."""
        return pair_as_matrix(self.tokenLearner1)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """What `decode` takes: tokens to positions [T, N], channels to classes [classes, D]."""
        return self.token_weights(), pair_as_matrix(self.tokenLearner2)


def decode(tokens: Tensor, positions: Tensor, classes: Tensor) -> Tensor:
    """The ATD between its norms: tokens [B, N, D] -> [B, T, classes], by `ATD.matrices`."""
    return F.linear(positions @ tokens, classes)


def token_shares(weights: Tensor, batch: int) -> Tensor:
    """An ATD's token weights [T, N] as attention [B, T, N]: absolute values, rows sum to 1."""
    weights = weights.abs()
    return (weights / weights.sum(-1, keepdim=True)).expand(batch, -1, -1)
