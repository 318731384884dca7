"""Losses as sums and counts, so that ranks and micro-batches of any size add up exactly."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LossSum:
    """A loss summed over the positions that count, and how many those are."""

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The loss a position; 0 where no position counts."""
        return self.total / self.count.clamp(min=1)


def head_cross_entropy(head: nn.Linear, features: Tensor, targets: Tensor, pad_id: int) -> LossSum:
    """Cross entropy of `head(features)`, without the positions that are padding.

    The head runs on the positions that count only: a word has about four BPE positions, not 27.
    The mean equals `CrossEntropyLoss(ignore_index=pad_id)` on the logits of all positions.

    Args:
        head: linear layer D -> classes.
        features: [B, T, D].
        targets: int64 [B, T].
        pad_id: target id of the positions that are not learned.

    """
    counted = targets != pad_id
    logits = head(features[counted])  # [positions that count, classes]
    total = F.cross_entropy(logits.float(), targets[counted], reduction="sum")
    return LossSum(total, counted.sum().to(torch.float32))
