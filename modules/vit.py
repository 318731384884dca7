"""The ViT encoder of MGP-STR and CHAR-STR (MGP-STR, section 3.1), and what others share with it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modules.a3 import A3
from modules.atd import ATD
from modules.packed_linear import Linear
from modules.transformer_block import TransformerBlock


class PatchProjection(nn.Module):
    """A linear projection of each patch, as a convolution under the official name."""

    def __init__(self, in_channels: int, width: int, patch_size: tuple[int, int]):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] -> tokens [B, N, D], row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


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


@dataclass(frozen=True)
class Encoding:
    """What an encoder makes of images.

    Attributes:
        tokens: [B, 1 + N, D], class token first.
        core_area: raw core-area map [B, 1, H, W]; None where none was predicted.
        guided_attention: CAFM's last re-weighting [B, 1 + N, 1 + N], values in (0, 1); None
            without CAFM.

    """

    tokens: Tensor
    core_area: Tensor | None = None
    guided_attention: Tensor | None = None


class TokenTransformer(nn.Module):
    """Class token, learned positions, pre-norm blocks and a LayerNorm, under the official names."""

    def __init__(self, num_tokens: int, width: int, depth: int, num_heads: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + num_tokens, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def init_transformer(self) -> None:
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
            block.attn.fused = fused

    def attend_by_hand(self, by_hand: bool) -> None:
        """Where attention is not fused, use `modules.attend`; equal up to rounding."""
        for block in self.blocks:
            block.attn.by_hand = by_hand

    def pack_products(self, packs: bool) -> None:
        """Let the blocks' linear layers pack their weights; equal up to rounding."""
        for module in self.blocks.modules():
            if isinstance(module, Linear):
                module.packs = packs

    def fold_decoders(self, folds: bool) -> None:
        """Let decoders compute their linear layers in a row as one; equal up to rounding."""
        for module in self.modules():
            if isinstance(module, A3 | ATD):
                module.folds = folds

    def recompute(self, recomputes: bool) -> None:
        """Keep less for the backward pass, or what PyTorch keeps; equal up to rounding."""
        for module in self.modules():
            if isinstance(module, TransformerBlock | A3):
                module.recomputes = recomputes

    def drop_blocks(self, rate: float) -> None:
        """Stochastic depth (G. Huang et al., 2016): leave out a block's branches in training.

        Args:
            rate: probability for the last block, 0 to below 1; for the others it falls linearly to
                0 at the first.

        """
        for number, block in enumerate(self.blocks):
            probability = rate * number / max(1, len(self.blocks) - 1)
            block.drop_path1.probability = block.drop_path2.probability = probability

    def embed(self, patches: Tensor) -> Tensor:
        """Patch tokens [B, N, D] -> class token in front, positions added: [B, 1 + N, D]."""
        class_token = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([class_token, patches], dim=1) + self.pos_embed

    def run_blocks(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D] through all blocks."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class ViTEncoder(TokenTransformer):
    """Image patches, and a transformer over them.

    The final LayerNorm `norm` is part of the official state dict but is never applied: all
    1 + N tokens go on as they leave the last block (reference facts).
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
        grid_size = (image_size[0] // patch_size[0], image_size[1] // patch_size[1])
        super().__init__(grid_size[0] * grid_size[1], width, depth, num_heads)
        if stem == "conv":
            self.patch_embed = ConvStem(in_channels, width, patch_size)
        else:
            self.patch_embed = PatchProjection(in_channels, width, patch_size)

    def encode(self, images: Tensor) -> Encoding:
        """Images [B, C, H, W] with values in [0, 1] -> encoding."""
        return Encoding(self.run_blocks(self.embed(self.patch_embed(images))))
