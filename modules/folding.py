"""Linear layers in a row as one, for reading: the same numbers up to rounding, with less work."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modules.a3 import A3
from modules.atd import ATD, token_shares
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


def fold_pair(first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Two bias-free 1x1 convolutions, the first in groups, as one matrix [out, in]."""
    return second.weight.detach().flatten(1) @ _dense(first)


def _dense(conv: nn.Conv2d) -> Tensor:
    """A bias-free 1x1 convolution in groups as a matrix [out, in]."""
    return torch.block_diag(*conv.weight.detach().flatten(1).chunk(conv.groups))


class FoldedA3(nn.Module):
    """A3 for reading: a matrix for each pair of convolutions, and T features instead of N values.

    As `feat` is linear, it may follow the attention, which leaves T rows of N.
    """

    def __init__(self, a3: A3):
        super().__init__()
        self.token_norm, self.norm = copy.deepcopy(a3.token_norm), copy.deepcopy(a3.norm)
        self.register_buffer("positions", fold_pair(*a3.tokenLearner))
        self.register_buffer("values", _dense(a3.feat))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] -> attention [B, T, N] (rows sum to 1), features [B, T, D]."""
        tokens = self.token_norm(tokens)
        attention = (self.positions @ tokens.transpose(1, 2)).softmax(dim=-1)
        return attention, self.norm(F.linear(attention @ tokens, self.values))


class FoldedATD(nn.Module):
    """The ATD with each pair of its 1x1 convolutions as one matrix."""

    def __init__(self, atd: ATD):
        super().__init__()
        self.token_norm, self.norm = copy.deepcopy(atd.token_norm), copy.deepcopy(atd.norm_1)
        self.register_buffer("positions", fold_pair(*atd.tokenLearner1))
        self.register_buffer("classes", fold_pair(*atd.tokenLearner2))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] -> attention [B, T, N] (`token_shares`), logits [B, T, classes]."""
        logits = self.norm(F.linear(self.positions @ self.token_norm(tokens), self.classes))
        return token_shares(self.positions, len(tokens)), logits
