"""The core-area map without the pyramid that draws it: the same up to rounding, with less work.

From the features to the map, all is linear and works pixel by pixel, but for the BatchNorms, which
ask for means and variances only. Those of a product follow from the covariance of what goes into
it, and that of maps of two resolutions can be had at the coarser one. So nothing has to be computed
for all pixels and all channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.feature_extractor import Features, doubled


@dataclass(frozen=True)
class LevelBatch:
    """What a norm learns from.

    Attributes:
        covariance: of the channels that come to it, [C, C].
        pixels: how many there are.

    """

    covariance: Tensor
    pixels: int


def draw_map(
    features: Features, levels: Sequence[nn.Sequential], projections: Sequence[nn.Conv2d]
) -> Tensor:
    """What the projections make of `FeatureExtractor.pyramid`; its norms learn the same from it.

    Args:
        features: of the extractor.
        levels: the pyramid's two, each a 1x1 convolution and a BatchNorm.
        projections: the two 1x1 convolutions after it.

    Returns:
        The raw map, [B, 1, H, W].

    """
    maps = [features.quarter, features.half, features.full]
    with torch.autocast(features.full.device.type, enabled=False):
        maps = [m.to(torch.promote_types(m.dtype, torch.float32)) for m in maps]
        means = [m.mean(dim=(0, 2, 3)) for m in maps]
        maps = [m - mean[:, None, None] for m, mean in zip(maps, means, strict=True)]
        batches = None
        if levels[0][1].training:
            covariance, size = _covariance(maps), levels[0][0].in_channels
            batches = [
                LevelBatch(own, m.numel() // m.shape[1])
                for own, m in zip([covariance[:size, :size], covariance], maps[1:], strict=True)
            ]
        factors, rest = map_factors(levels, projections, means, batches)
        raw = sum_channels(maps, factors) + rest
    return raw.to(features.full.dtype)


def sum_channels(maps: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """Weighted channels of three resolutions in one map, [B, 1, H, W].

    Args:
        maps: quarter, half and full resolution, [B, C, H / 4, W / 4] to [B, C, H, W].
        factors: a number for each of their channels, [C].

    """
    quarter, half, full = (
        F.conv2d(m, own[None, :, None, None]) for m, own in zip(maps, factors, strict=True)
    )
    return doubled(doubled(quarter) + half) + full


def map_factors(
    levels: Sequence[nn.Sequential],
    projections: Sequence[nn.Conv2d],
    means: Sequence[Tensor],
    batches: Sequence[LevelBatch] | None = None,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """The map as a number for each channel.

    Args:
        levels, projections: see `draw_map`.
        means: of the features' channels, [C] each, in the order quarter, half, full; any numbers
            where norms do not learn.
        batches: for each level's norm; None in evaluation mode.

    Returns:
        Factors [C] of what the channels differ from `means`, in that order, and the rest, [1].

    """
    (inner, inner_norm), (outer, outer_norm) = levels
    inner, outer = inner.weight.flatten(1), outer.weight.flatten(1)
    of_inner, of_outer = batches or (None, None)
    # What comes to a norm is a matrix times those differences, and a rest.
    matrix, rest = _normalize(inner_norm, inner, inner @ torch.cat(list(means[:2])), of_inner)
    matrix = torch.cat([outer[:, : len(inner)] @ matrix, outer[:, len(inner) :]], dim=1)
    rest = outer @ torch.cat([rest, means[2]])
    matrix, rest = _normalize(outer_norm, matrix, rest, of_outer)
    first, second = (projection.weight.flatten(1) for projection in projections)
    row = second @ first
    return (row @ matrix)[0].split([len(mean) for mean in means]), row @ rest


def _normalize(
    norm: nn.BatchNorm2d, matrix: Tensor, rest: Tensor, batch: LevelBatch | None
) -> tuple[Tensor, Tensor]:
    """Matrix [out, in] and rest [out] of the norm's result, from those of what comes to it."""
    mean, variance = norm.running_mean, norm.running_var
    if batch is not None:
        mean, variance = rest, ((matrix @ batch.covariance) * matrix).sum(dim=1)
        with torch.no_grad():
            norm.num_batches_tracked += 1
            unbiased = variance * (batch.pixels / (batch.pixels - 1))
            for learned, own in ((norm.running_mean, mean), (norm.running_var, unbiased)):
                learned.lerp_(own, norm.momentum)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale[:, None] * matrix, scale * (rest - mean) + norm.bias


def _covariance(maps: Sequence[Tensor]) -> Tensor:
    """Of all channels, [C, C], each map enlarged to the last one's size.

    Args:
        maps: [B, C, H, W], each finer than the one before, and of mean 0.

    """
    rows, before = [], 0
    for number, own in enumerate(maps):
        finer = [F.avg_pool2d(m, m.shape[2] // own.shape[2]) for m in maps[number + 1 :]]
        pixels = torch.cat([own, *finer], dim=1).movedim(1, -1).flatten(0, 2)
        products = pixels[:, : own.shape[1]].t() @ pixels / len(pixels)
        rows.append(F.pad(products, (before, 0)))
        before += own.shape[1]
    upper = torch.cat(rows)
    return upper.triu() + upper.triu(1).t()
