"""What a recognizer returns in evaluation mode."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

GRANULARITIES = ("char", "bpe", "wp")


@dataclass(frozen=True)
class Outputs:
    """Logits, attention and core areas of a batch; None where a model has no such head.

    Attributes:
        char, bpe, wp: logits [B, T, classes] of all positions.
        attention: A3 attention by granularity, each [B, T, 1 + N], class token first.
        core_area: predicted core-area map [B, 1, H, W].

    """

    char: Tensor | None = None
    bpe: Tensor | None = None
    wp: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)
    core_area: Tensor | None = None

    def logits(self) -> dict[str, Tensor]:
        """The logits that are there, by granularity, char first."""
        by_name = {name: getattr(self, name) for name in GRANULARITIES}
        return {name: logits for name, logits in by_name.items() if logits is not None}

    def greedy(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Arg-max ids and their softmax probabilities, by granularity, each [B, T].

        No table of probabilities is made: the largest is exp(max - log-sum-exp).
        """
        ids, probabilities = {}, {}
        for name, logits in self.logits().items():
            logits = logits.float()
            largest, ids[name] = logits.max(dim=-1)
            probabilities[name] = torch.exp(largest - logits.logsumexp(dim=-1))
        return ids, probabilities
