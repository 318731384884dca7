"""The convolutional feature extractor of ACDS-STR, and the core-area map that its pyramid draws.

A ResNet-45 with a pyramid by concatenation (reference facts). Attribute names are those of the
official state dict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The stem keeps the resolution, the layers halve it twice; the last one may halve it again.
STRIDES = (2, 1, 2, 1)


class BasicBlock(nn.Module):
    """1x1 convolution, 3x3 convolution that carries the stride, and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: tuple[int, int]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != (1, 1) or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, channels, H / stride, W / stride]."""
        shortcut = features if self.downsample is None else self.downsample(features)
        features = F.relu(self.bn1(self.conv1(features)))
        return F.relu(self.bn2(self.conv2(features)) + shortcut)


@dataclass(frozen=True)
class Features:
    """Feature maps of a batch.

    Attributes:
        full: the stem's, [B, C0, H, W].
        half: after layer 2, [B, C2, H / 2, W / 2].
        quarter: after layer 4, [B, C4, H / 4, W / 4].
        last: after layer 5, [B, C5, rows, columns] of the token grid.

    """

    full: Tensor
    half: Tensor
    quarter: Tensor
    last: Tensor


class FeatureExtractor(nn.Module):
    """Five layers of residual blocks, and a pyramid over three of their resolutions.

    Args:
        in_channels: of the images.
        stem: channels of the stem.
        widths: channels of the five layers.
        blocks: blocks of the five layers.
        patch_size: pixels of a token, each side 4 or 8.

    """

    def __init__(
        self,
        in_channels: int,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch_size: tuple[int, int],
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        strides = [(s, s) for s in STRIDES] + [(patch_size[0] // 4, patch_size[1] // 4)]
        channels = stem
        for number, (width, count, stride) in enumerate(
            zip(widths, blocks, strides, strict=True), start=1
        ):
            layer = [BasicBlock(channels, width, stride)]
            layer += [BasicBlock(width, width, (1, 1)) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*layer))
            channels = width
        half = widths[3] + widths[1]
        self.pyramid_channels = half + stem
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c))
            for c in (half, self.pyramid_channels)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)

    def forward(self, images: Tensor) -> Features:
        """Images [B, C, H, W] -> feature maps."""
        full = F.relu(self.bn1(self.conv1(images)))
        half = self.layer2(self.layer1(full))
        quarter = self.layer4(self.layer3(half))
        return Features(full, half, quarter, self.layer5(quarter))

    def pyramid(self, features: Features) -> Tensor:
        """Three resolutions in one map [B, pyramid channels, H, W]."""
        merged = self.smooth[0](torch.cat([doubled(features.quarter), features.half], dim=1))
        return self.smooth[1](torch.cat([doubled(merged), features.full], dim=1))

    def guided_part(self) -> list[nn.Module]:
        """What draws the map, but for its projections: stem, layers 1 to 4, and the pyramid."""
        layers = [self.layer1, self.layer2, self.layer3, self.layer4]
        return [self.conv1, self.bn1, *layers, self.smooth]


def doubled(features: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2 H, 2 W]."""
    return F.interpolate(features, scale_factor=2, mode="nearest")
