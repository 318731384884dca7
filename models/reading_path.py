"""Recognizers for reading: the same logits up to rounding, faster, and without pictures."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.acds_str import AcdsMgpStr, AcdsStr
from models.outputs import Outputs
from modules.atd import ATD
from modules.cafm import prepend_class
from modules.core_area import core_area_values
from modules.folding import FoldedMap, fold_extractor, fold_pair

# Images that go through a CPU together: by eights, acds_str_small in bf16 reads 1.15 times as fast
# as by thirty-twos, whose intermediate results don't fit the caches.
AT_ONCE = 8


def reading_path(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The fastest path to a model's `Outputs` (logits only) in evaluation mode.

    Args:
        model: a recognizer in evaluation mode; it is not changed, and may be what is returned.
        dtype: of the path's weights, which are cast once: float32, or bfloat16 for speed.

    """
    if isinstance(model, AcdsStr | AcdsMgpStr):
        return AcdsReadingPath(model).to(dtype).eval()
    if model.pos_embed.dtype == dtype:
        return model
    return CastReadingPath(copy.deepcopy(model)).to(dtype).eval()


class CastReadingPath(nn.Module):
    """A recognizer as it is, on images of its weights' type."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Outputs:
        """Images [B, C, H, W] in [0, 1] -> logits."""
        return self.model(images.to(self.model.pos_embed.dtype))


class AcdsReadingPath(nn.Module):
    """The ACDS encoder with its convolutions folded, and the map only where CAFM samples it."""

    def __init__(self, model: AcdsStr | AcdsMgpStr):
        super().__init__()
        config = model.config
        self._form = config.core_area_form
        self.extractor = fold_extractor(model.cnnBackbone).to(memory_format=torch.channels_last)
        self.map = None
        if config.guided_blocks:
            patch_size = (config.patch_height, config.patch_width)
            self.map = FoldedMap(model.cnnBackbone, model.conv_fpn, patch_size)
        self.transformer = copy.deepcopy(model)
        self.transformer.fuse_attention(True)
        self.transformer.conv1.to(memory_format=torch.channels_last)
        for folded in ("cnnBackbone", "conv_fpn"):
            delattr(self.transformer, folded)
        self.atd = None
        if isinstance(model, AcdsStr):
            self.atd = FoldedATD(model.char_tokenLearner)
            for unused in ("char_tokenLearner", "patch_embed", "head", "char_head"):
                delattr(self.transformer, unused)

    def forward(self, images: Tensor) -> Outputs:
        """Images [B, C, H, W] in [0, 1] -> logits."""
        if images.is_cuda:
            return Outputs(**self._logits(images))
        parts = [self._logits(part) for part in images.split(AT_ONCE)]
        return Outputs(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def _logits(self, images: Tensor) -> dict[str, Tensor]:
        features = self.extractor(images.to(self.transformer.pos_embed.dtype))
        tokens = self.transformer.tokens_of(features)
        if self.map is None:
            tokens = self.transformer.run_blocks(tokens)
        else:
            values = core_area_values(self.map(features), self._form)
            guidance = prepend_class(values, self.transformer.conv_class)
            tokens, _ = self.transformer.guide(tokens, guidance)
        if self.atd is not None:
            return {"char": self.atd(tokens)}
        return self.transformer.decode(tokens)[0]


class FoldedATD(nn.Module):
    """The ATD with each pair of its 1x1 convolutions as one matrix."""

    def __init__(self, atd: ATD):
        super().__init__()
        self.token_norm, self.norm = copy.deepcopy(atd.token_norm), copy.deepcopy(atd.norm_1)
        self.register_buffer("positions", fold_pair(*atd.tokenLearner1))
        self.register_buffer("classes", fold_pair(*atd.tokenLearner2))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> logits [B, T, classes]."""
        return self.norm(F.linear(self.positions @ self.token_norm(tokens), self.classes))
