"""Parts of a model that fine-tuning leaves as they are."""

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence

from torch import nn

from engine.optimization import before_blocks, block_number

SCOPES = ("guided", "stem", "encoder", "heads")  # and blocks:N
_HEADS = re.compile(r"(\w+_tokenLearner|(char|bpe|wp|core_area)_head|head)\.")


class _StillBatchNorm2d(nn.BatchNorm2d):
    """A norm that keeps its statistics, in training mode, too."""

    def train(self, mode: bool = True) -> nn.Module:
        """Stay in evaluation mode."""
        return super().train(False)


class FreezeError(ValueError):
    """A scope that a model does not have, or that leaves nothing to train."""


def scope(text: str) -> str:
    """A scope as the command line gives it, for argparse."""
    if text in SCOPES or re.fullmatch(r"blocks:[1-9]\d*", text):
        return text
    raise ArgumentTypeError(f"must be one of {', '.join(SCOPES)}, or as blocks:4, not {text}")


def freeze(model: nn.Module, scopes: Sequence[str]) -> str:
    """Stop training parts of a model; what was frozen, in words.

    BatchNorms of what is frozen keep their statistics and normalise by them; those of `guided`
    go on, as in the reference.

    Args:
        model: a recognizer.
        scopes: `guided` (what draws the core-area map of the ACDS extractor, but for the two
            projections at its end), `stem` (all before the blocks), `blocks:N` (the stem and the
            first N blocks), `encoder` (all but A3 modules, decoders and heads), `heads`.

    Raises:
        FreezeError: a scope that the model does not have, or nothing is left to train.

    """
    before = _trained(model)
    for name in scopes:
        if name == "guided":
            if not model.config.has_extractor:
                raise FreezeError(
                    f"--freeze guided is for the feature extractor of ACDS-STR; "
                    f"{model.config.name} has none."
                )
            model.freeze_guided_part()
            continue
        count = int(name.partition(":")[2] or 0)
        if count > len(model.blocks):
            raise FreezeError(
                f"--freeze {name}: {model.config.name} has {len(model.blocks)} blocks."
            )
        for parameter, value in model.named_parameters():
            if _inside(parameter, name, count):
                value.requires_grad_(False)
        for path, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d) and _inside(f"{path}.weight", name, count):
                module.__class__ = _StillBatchNorm2d
                module.eval()
    after = _trained(model)
    if not after:
        raise FreezeError(f"--freeze {' '.join(scopes)} leaves nothing to train.")
    return f"frozen: {', '.join(scopes)} ({before - after:,} of {before:,} parameters)"


def _inside(parameter: str, name: str, count: int) -> bool:
    if name in ("heads", "encoder"):
        return (name == "heads") == bool(_HEADS.match(parameter))
    block = block_number(parameter)
    return before_blocks(parameter) or (block is not None and block < count)


def _trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
