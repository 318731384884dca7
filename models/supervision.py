"""The losses that character boxes give, whatever the model.

Targets, beside the label ids: `core_area`, uint8 [B, 1, H, W], the number of the character (from 1)
whose core area a pixel is in, 0 outside; `has_core_area`, bool [B], whether the record had boxes.
"""

from collections.abc import Mapping

from torch import Tensor

from models.config import ModelConfig
from modules.core_area import core_area_count, core_area_loss
from modules.losses import LossSum, attention_guidance, guidance_count
from modules.vit import Encoding


def core_area_losses(
    config: ModelConfig,
    encoding: Encoding,
    targets: Mapping[str, Tensor],
    char_attention: Tensor | None = None,
) -> dict[str, LossSum]:
    """`core_area_loss` where the model draws a map, `guidance_loss` where it has A3 attention.

    Args:
        config: of the model.
        encoding: of the batch.
        targets: without `core_area`, there are no such losses.
        char_attention: of the char A3 module, [B, T, 1 + N]; None for another decoder.

    """
    if "core_area" not in targets:
        return {}
    core_area, counted = targets["core_area"], targets["has_core_area"]
    losses = {}
    if encoding.core_area is not None:
        losses["core_area_loss"] = core_area_loss(
            encoding.core_area, core_area, counted, config.core_area_form
        )
    if char_attention is not None:
        losses["guidance_loss"] = attention_guidance(
            char_attention, core_area, counted, config.patch_size
        )
    return losses


def core_area_counts(config: ModelConfig, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the losses of `core_area_losses` count, by their names, from the targets alone."""
    if "core_area" not in targets:
        return {}
    core_area, counted = targets["core_area"], targets["has_core_area"]
    counts = {}
    if config.draws_core_areas:
        counts["core_area_loss"] = core_area_count(core_area, counted)
    if config.family != "acds-str":  # whose decoder has no A3 attention
        counts["guidance_loss"] = guidance_count(
            core_area, counted, config.positions, config.patch_size
        )
    return counts
