"""Linear layers in a row as one, for reading: the same numbers up to rounding, with less work."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modules.a3 import A3, aggregate
from modules.atd import ATD, decode, token_shares
from modules.core_area_map import map_factors, sum_channels
from modules.feature_extractor import FeatureExtractor, Features


def fold_extractor(extractor: FeatureExtractor) -> FeatureExtractor:
    """A copy whose BatchNorms are part of their convolutions; of one in evaluation mode.

    Its pyramid is left out: `FoldedMap` takes its place.
    """
    folded = copy.deepcopy(extractor)
    layers = [getattr(folded, f"layer{number}") for number in range(1, 6)]
    for owner in [folded, *(block for layer in layers for block in layer)]:
        for number in (1, 2):
            conv, norm = (getattr(owner, f"{kind}{number}", None) for kind in ("conv", "bn"))
            if conv is not None:
                setattr(owner, f"conv{number}", fuse_conv_bn_eval(conv, norm))
                setattr(owner, f"bn{number}", nn.Identity())
        if getattr(owner, "downsample", None) is not None:
            owner.downsample = fuse_conv_bn_eval(*owner.downsample)
    del folded.smooth
    return folded


class FoldedMap(nn.Module):
    """The core-area map, whole or at the tokens' places only.

    From the features to the map, all is linear and works pixel by pixel: it comes to one number a
    channel of each resolution.

    Args:
        extractor: in evaluation mode.
        projections: the two 1x1 convolutions after the pyramid.
        patch_size: pixels of a token, rows and columns.

    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        projections: Sequence[nn.Conv2d],
        patch_size: tuple[int, int],
    ):
        super().__init__()
        channels = [getattr(extractor, f"layer{n}")[-1].bn2.num_features for n in (4, 2)]
        channels.append(extractor.bn1.num_features)
        nothing = [projections[0].weight.new_zeros(count) for count in channels]
        with torch.no_grad():
            factors, bias = map_factors(extractor.smooth, projections, nothing)
        self.register_buffer("bias", bias)
        for name, own in zip(("quarter", "half", "full"), factors, strict=True):
            self.register_buffer(f"from_{name}", own[None])
        self._patch_size = patch_size

    def forward(self, features: Features) -> Tensor:
        """Feature maps -> raw map at the tokens' places, [B, N, 1]."""
        rows, columns = self._patch_size
        total = self.bias
        for name, scale in (("full", 1), ("half", 2), ("quarter", 4)):
            sampled = getattr(features, name)[:, :, :: rows // scale, :: columns // scale]
            total = total + F.linear(
                sampled.flatten(2).transpose(1, 2), getattr(self, f"from_{name}")
            )
        return total

    def whole(self, features: Features) -> Tensor:
        """Feature maps -> raw map, [B, 1, H, W]."""
        names = ("quarter", "half", "full")
        maps = [getattr(features, name) for name in names]
        return sum_channels(maps, [getattr(self, f"from_{name}")[0] for name in names]) + self.bias


class FoldedA3(nn.Module):
    """A3 for reading, with its matrices (`modules.a3.aggregate`)."""

    def __init__(self, a3: A3):
        super().__init__()
        self.token_norm, self.norm = copy.deepcopy(a3.token_norm), copy.deepcopy(a3.norm)
        with torch.no_grad():
            positions, values = a3.matrices()
        self.register_buffer("positions", positions)
        self.register_buffer("values", values)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] -> attention [B, T, N] (rows sum to 1), features [B, T, D]."""
        attention, features = aggregate(self.token_norm(tokens), self.positions, self.values)
        return attention, self.norm(features)


class FoldedATD(nn.Module):
    """The ATD for reading, with its matrices (`modules.atd.decode`)."""

    def __init__(self, atd: ATD):
        super().__init__()
        self.token_norm, self.norm = copy.deepcopy(atd.token_norm), copy.deepcopy(atd.norm_1)
        with torch.no_grad():
            positions, classes = atd.matrices()
        self.register_buffer("positions", positions)
        self.register_buffer("classes", classes)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] -> attention [B, T, N] (`token_shares`), logits [B, T, classes]."""
        logits = self.norm(decode(self.token_norm(tokens), self.positions, self.classes))
        return token_shares(self.positions, len(tokens)), logits
