"""Losses as sums and counts, so that ranks and micro-batches of any size add up exactly."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LossSum:
    """A loss summed over the positions that count, and how many those are."""

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The loss a position; 0 where no position counts."""
        return self.total / self.count.clamp(min=1)


def cross_entropy(logits: Tensor, targets: Tensor, pad_id: int, smoothing: float = 0.0) -> LossSum:
    """Cross entropy of logits [B, T, classes], without the positions that are padding.

    Args:
        logits: of all positions.
        targets: int64 [B, T].
        pad_id: target id of the positions that are not learned.
        smoothing: share of each target that is spread over all classes, 0 to below 1.

    """
    total = F.cross_entropy(
        logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32)),
        targets.flatten(),
        ignore_index=pad_id,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return LossSum(total, label_count(targets, pad_id))


def label_count(targets: Tensor, pad_id: int) -> Tensor:
    """How many positions a cross entropy counts, as float32."""
    return (targets != pad_id).sum().to(torch.float32)


def attention_guidance(
    attention: Tensor, core_area: Tensor, counted: Tensor, patch_size: tuple[int, int]
) -> LossSum:
    """Divergence of each character's A3 attention from that character's core area.

    Position t of the character head reads character t. Its attention is compared with the share of
    each patch that the core area covers, made to sum to 1 (Kullback-Leibler divergence); positions
    whose core area is not on the image don't count. Not part of the papers.

    Args:
        attention: [B, T, 1 + N], rows sum to 1, class token first.
        core_area: uint8 [B, 1, H, W]: number of the character, from 1, whose core area a pixel is
            in; 0 outside.
        counted: bool [B]; the other images are not learned from.
        patch_size: pixels of a token, rows and columns.

    """
    wanted, valid = _wanted_attention(core_area, counted, attention.shape[1], patch_size)
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    log_attention = attention[:, 1:, 1:].clamp(min=1e-12).log()
    divergence = (torch.xlogy(wanted, wanted) - wanted * log_attention).sum(-1)
    return LossSum((divergence * valid).sum(), valid.sum())


def guidance_count(
    core_area: Tensor, counted: Tensor, positions: int, patch_size: tuple[int, int]
) -> Tensor:
    """How many positions `attention_guidance` counts, as float32."""
    return _wanted_attention(core_area, counted, positions, patch_size)[1].sum()


def _wanted_attention(
    core_area: Tensor, counted: Tensor, positions: int, patch_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Attention [B, T - 1, N] of positions 1 to T - 1, and which of them count, 0 or 1."""
    numbers = core_area[:, 0].to(torch.int64).clamp(max=positions)
    # Pixels of each character in each patch, by counting.
    rows, columns = numbers.shape[1] // patch_size[0], numbers.shape[2] // patch_size[1]
    patches = numbers.unflatten(2, (columns, patch_size[1])).unflatten(1, (rows, patch_size[0]))
    patches = patches.transpose(2, 3).flatten(3).flatten(1, 2)  # [B, N, pixels of a patch]
    shape = (*patches.shape[:2], positions + 1)
    covered = torch.zeros(shape, dtype=torch.float32, device=core_area.device)
    covered.scatter_add_(2, patches, torch.ones_like(patches, dtype=torch.float32))
    covered = covered[:, :, 1:positions].transpose(1, 2)
    sums = covered.sum(-1, keepdim=True)
    valid = ((sums[..., 0] > 0) & counted[:, None]).to(torch.float32)
    return covered / sums.clamp(min=1), valid
