"""The ViT encoder of MGP-STR and CHAR-STR (MGP-STR, section 3.1)."""

from functools import partial

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn


class ConvStem(nn.Module):
    """Convolutions in place of the patch projection: 3x3, stride 2, until a patch is one pixel.

    Learns much faster than a projection where training is short. Patch sides are powers of two.
    """

    def __init__(self, in_channels: int, width: int, patch_size: tuple[int, int]):
        super().__init__()
        rows, columns = patch_size
        layers: list[nn.Module] = []
        channels = in_channels
        while rows > 1 or columns > 1:
            stride = (2 if rows > 1 else 1, 2 if columns > 1 else 1)
            rows, columns = max(rows // 2, 1), max(columns // 2, 1)
            remaining = max(rows, columns)
            out = width // (2 * remaining) if remaining > 1 else width // 2
            layers += [
                nn.Conv2d(channels, out, 3, stride, 1, bias=False),
                nn.BatchNorm2d(out),
                nn.GELU(),
            ]
            channels = out
        layers.append(nn.Conv2d(channels, width, 3, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] -> tokens [B, N, D], row by row."""
        return self.layers(images).flatten(2).transpose(1, 2)


class ViTEncoder(nn.Module):
    """Patches, class token, learned positions, and pre-norm blocks.

    The final LayerNorm `norm` is part of the official state dict but is never applied: all
    1 + N tokens go on as they leave the last block (reference facts, 4.1).
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        in_channels: int,
        width: int,
        depth: int,
        num_heads: int,
        patch_size: tuple[int, int] = (4, 4),
        stem: str = "patch",
    ):
        super().__init__()
        self.grid_size = (image_size[0] // patch_size[0], image_size[1] // patch_size[1])
        num_tokens = self.grid_size[0] * self.grid_size[1]
        if stem == "conv":
            self.patch_embed = ConvStem(in_channels, width, patch_size)
        else:
            self.patch_embed = PatchEmbed(image_size, patch_size, in_channels, width)
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + num_tokens, width))
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm_layer)
            for _ in range(depth)
        )
        self.norm = norm_layer(width)

    def init_encoder(self) -> None:
        """Truncated normal 0.02 for linear layers and embeddings, as timm 0.4.12 did."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def fuse_attention(self, fused: bool) -> None:
        """Use the fused attention kernel, or plain matrix products; equal up to rounding."""
        for block in self.blocks:
            block.attn.fused_attn = fused

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] with values in [0, 1] -> tokens [B, 1 + N, D], class token first."""
        tokens = self.patch_embed(images)
        class_token = self.cls_token.expand(len(tokens), -1, -1)
        tokens = torch.cat([class_token, tokens], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return tokens
