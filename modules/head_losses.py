"""Cross entropies of A3's linear heads, on the positions that count only.

A word has about four BPE positions, not 27. Compilers leave these functions alone: the number of
positions changes with every batch; and what they would make of the chunks is told in
`modules.linear_cross_entropy`. Importing this brings the compiler along, a second that readers need
not wait.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modules.linear_cross_entropy import linear_cross_entropy
from modules.losses import LossSum


@torch.compiler.disable
def counted_positions(
    targets: Mapping[str, Tensor], pad_ids: Mapping[str, int]
) -> dict[str, Tensor]:
    """Numbers of the positions that are not padding, int64 [P] by granularity.

    They count through a batch of targets, int64 [B, T], row by row. Finding them waits for a GPU,
    so that it is best done before the GPU is given the batch's work.

    Args:
        targets: by granularity; others are left out.
        pad_ids: target ids of the positions that are not learned, by granularity.

    """
    return {
        name: (targets[name] != pad_id).flatten().nonzero().squeeze(1)
        for name, pad_id in pad_ids.items()
    }


@torch.compiler.disable
def head_losses(
    heads: Mapping[str, nn.Linear],
    features: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    positions: Mapping[str, Tensor],
    smoothing: float = 0.0,
) -> dict[str, LossSum]:
    """Cross entropies of `head(features)`, by granularity, without the positions that are padding.

    Each runs on so many positions at a time that its logits need little memory. The means equal
    `CrossEntropyLoss(ignore_index=pad_id, label_smoothing=smoothing)` on the logits of all
    positions.

    Args:
        heads: linear layers D -> classes, by granularity.
        features: [B, T, D].
        targets: int64 [B, T].
        positions: of `counted_positions`.
        smoothing: share of each target that is spread over all classes, 0 to below 1.

    """
    losses = {}
    for name, head in heads.items():
        counted = positions[name]
        total = linear_cross_entropy(
            head,
            features[name].flatten(0, 1).index_select(0, counted),
            targets[name].flatten().index_select(0, counted),
            smoothing,
        )
        count = torch.full_like(total, len(counted), dtype=torch.float32)
        losses[name] = LossSum(total, count)
    return losses
