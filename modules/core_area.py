"""The core-area map: its two forms, its loss, and what draws it from features or patch tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.losses import LossSum

FOREGROUND_WEIGHT = 2.0
LOWEST, HIGHEST = 0.01, 0.99


def core_area_values(raw: Tensor, form: str) -> Tensor:
    """The map as it guides and is shown, about 0 outside core areas and 1 inside.

    Args:
        raw: the last projection's output.
        form: linear, which is the reference's, takes it as it is; sigmoid squashes it.

    """
    return torch.sigmoid(raw) if form == "sigmoid" else raw


def core_area_loss(raw: Tensor, core_area: Tensor, counted: Tensor, form: str) -> LossSum:
    """Binary cross entropy of the map, with core areas weighing twice (reference facts).

    The linear form clamps the map to [0.01, 0.99], and has no gradient outside.

    Args:
        raw: [B, 1, H, W].
        core_area: [B, 1, H, W], above 0 inside core areas.
        counted: bool [B]; the other images' maps are not learned from.
        form: linear or sigmoid.

    """
    # All images go in and the others are weighted with 0: a rank whose batch has no boxes reaches
    # the map's parameters all the same, as DDP wants.
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    inside = (core_area > 0).to(raw.dtype)
    if form == "sigmoid":
        log_inside, log_outside = F.logsigmoid(raw), F.logsigmoid(-raw)
    else:
        clamped = raw.clamp(LOWEST, HIGHEST)
        log_inside, log_outside = clamped.log(), (1 - clamped).log()
    loss = -(FOREGROUND_WEIGHT * inside * log_inside + (1 - inside) * log_outside)
    total = (loss.flatten(1).sum(1) * counted.to(loss.dtype)).sum()
    return LossSum(total, core_area_count(core_area, counted))


def core_area_count(core_area: Tensor, counted: Tensor) -> Tensor:
    """How many pixels `core_area_loss` counts, as float32."""
    return counted.to(torch.float32).sum() * core_area.shape[1:].numel()


class CoreAreaHead(nn.Module):
    """Draws the map from an encoder's patch tokens: a linear layer, a patch of pixels a token."""

    def __init__(self, width: int, grid_size: tuple[int, int], patch_size: tuple[int, int]):
        super().__init__()
        self._grid_size, self._patch_size = grid_size, patch_size
        self.proj = nn.Linear(width, patch_size[0] * patch_size[1])

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D], class token first -> raw map [B, 1, H, W]."""
        pixels = self.proj(tokens[:, 1:])
        pixels = pixels.unflatten(2, self._patch_size).unflatten(1, self._grid_size)
        return pixels.transpose(2, 3).flatten(3).flatten(1, 2).unsqueeze(1)
