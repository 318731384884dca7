"""ATD, the adaptive transformation decoder of ACDS-STR (reference facts, 4.2)."""

from torch import Tensor, nn

from modules.a3 import GROUPS


class ATD(nn.Module):
    """Tokens to positions, then channels to classes; linear but for two LayerNorms.

    The last LayerNorm makes the logits. Attribute names are those of the official state dict.
    """

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
        features = self.tokenLearner1(self.token_norm(tokens).unsqueeze(-1))  # [B, T, D, 1]
        return self.norm_1(self.tokenLearner2(features.transpose(1, 2)).flatten(2).transpose(1, 2))

    def token_weights(self) -> Tensor:
        """How much of each token goes into each position, [T, N]: the same for every image."""
        first, second = self.tokenLearner1
        return second.weight.flatten(1) @ first.weight.flatten(1)


def token_shares(weights: Tensor, batch: int) -> Tensor:
    """An ATD's token weights [T, N] as attention [B, T, N]: absolute values, rows sum to 1."""
    weights = weights.abs()
    return (weights / weights.sum(-1, keepdim=True)).expand(batch, -1, -1)
