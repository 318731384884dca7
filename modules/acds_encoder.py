"""The encoder of ACDS-STR: feature extractor, transformer, and CAFM between them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modules.cafm import GuidedStream, token_guidance
from modules.core_area import core_area_values
from modules.core_area_map import draw_map
from modules.feature_extractor import FeatureExtractor, Features
from modules.vit import Encoding, TokenTransformer


class AcdsEncoder(TokenTransformer):
    """Convolutional features as tokens, and a transformer that the core-area map guides.

    Args:
        image_size: rows and columns of the input, in pixels.
        in_channels: of the images.
        width, depth, num_heads: of the transformer.
        patch_size: pixels of a token, each side 4 or 8.
        extractor_stem, extractor_widths, extractor_blocks: see `FeatureExtractor`.
        guided_blocks: the last blocks, after the first of which CAFM's stream branches off; 0 for
            none of CAFM.
        core_area_form: linear or sigmoid, see `modules.core_area`.

    Attributes:
        draws_pyramid: compute the map as the paper does, or by `modules.core_area_map`; equal up to
            rounding.

    """

    def __init__(
        self,
        image_size: tuple[int, int],
        in_channels: int,
        width: int,
        depth: int,
        num_heads: int,
        patch_size: tuple[int, int],
        extractor_stem: int,
        extractor_widths: Sequence[int],
        extractor_blocks: Sequence[int],
        guided_blocks: int,
        core_area_form: str,
    ):
        num_tokens = (image_size[0] // patch_size[0]) * (image_size[1] // patch_size[1])
        super().__init__(num_tokens, width, depth, num_heads)
        self.init_transformer()
        self._patch_size, self._core_area_form = patch_size, core_area_form
        self._first_guided = depth - guided_blocks if guided_blocks else None
        self.cnnBackbone = FeatureExtractor(
            in_channels, extractor_stem, extractor_widths, extractor_blocks, patch_size
        )
        self.conv1 = nn.Conv2d(extractor_widths[-1], width, 3, 1, 1, bias=False)
        pyramid = self.cnnBackbone.pyramid_channels
        self.conv_fpn = nn.Sequential(
            nn.Conv2d(pyramid, pyramid, 1, bias=False), nn.Conv2d(pyramid, 1, 1, bias=False)
        )
        self.draws_pyramid = True
        if guided_blocks:
            self.conv_class = nn.Parameter(torch.zeros(1, 1, 1))
            self.gated = nn.Parameter(torch.zeros(1, 2 * width, width))
        else:
            self.norm.requires_grad_(False)

    def learn_core_areas(self, supervised: bool) -> None:
        """Say whether core areas will be learned; what nothing uses otherwise is not trained."""
        used = supervised or self._first_guided is not None
        self.conv_fpn.requires_grad_(used)
        self.cnnBackbone.smooth.requires_grad_(used)

    def freeze_guided_part(self) -> None:
        """Stop training what draws the core-area map, but for the two projections at its end.

        The running statistics go on, as in the reference.
        """
        for part in self.cnnBackbone.guided_part():
            part.requires_grad_(False)

    def encode(self, images: Tensor, core_area: bool = True) -> Encoding:
        """Images [B, C, H, W] with values in [0, 1] -> encoding.

        Args:
            images: the batch.
            core_area: draw the map even where CAFM does not need it.

        """
        features = self.cnnBackbone(images)
        tokens = self.tokens_of(features)
        if self._first_guided is None:
            raw = self._map(features) if core_area else None
            return Encoding(self.run_blocks(tokens), raw)
        raw = self._map(features)
        values = core_area_values(raw, self._core_area_form)
        guidance = token_guidance(values, self._patch_size, self.conv_class)
        tokens, attention = self.guide(tokens, guidance)
        return Encoding(tokens, raw, attention)

    def tokens_of(self, features: Features) -> Tensor:
        """Feature maps -> tokens [B, 1 + N, D] before the blocks."""
        return self.embed(self.conv1(features.last).flatten(2).transpose(1, 2))

    def guide(self, tokens: Tensor, guidance: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + N, D] through the blocks and CAFM, with guidance [B, 1 + N, 1].

        Returns:
            Tokens [B, 1 + N, D], and the last guided attention [B, 1 + N, 1 + N].

        """
        stream = GuidedStream(guidance, self.norm)
        for number, block in enumerate(self.blocks):
            if number == self._first_guided:
                tokens, attention = block.with_attention(tokens)
                stream.start(tokens, attention)
                continue
            tokens = block(tokens)
            if number > self._first_guided:
                stream.step(block)
        return stream.merge(tokens, self.gated), stream.attention

    def _map(self, features: Features) -> Tensor:
        if self.draws_pyramid:
            return self.conv_fpn(self.cnnBackbone.pyramid(features))
        return draw_map(features, self.cnnBackbone.smooth, self.conv_fpn)
