"""Weights as a function of their names and shapes, and what makes such a model's readings words.

Random, but the same everywhere: two implementations can be filled alike. As trained ones do, the
layers keep the scale of what goes through them, which a fresh initialisation does not.
"""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

ATTENTION_SCALE = 30.0  # of what the softmax over the tokens is taken of
LOGIT_SCALE = 4.0
MARGIN = 1e-2  # of the stop's logit


def fill_by_formula(model: nn.Module) -> None:
    """Give every parameter and running statistic its values, in place (reference facts)."""
    state = {name: _formula(name, value) for name, value in model.state_dict().items()}
    model.load_state_dict(state)


def _formula(name: str, value: Tensor) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros_like(value)
    draws = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
    if name.endswith("running_var"):
        draws = 1 + 0.1 * np.abs(draws)
    elif name.endswith("running_mean"):
        draws *= 0.1
    elif name.endswith("weight"):
        draws = 1 + 0.1 * draws if draws.ndim == 1 else draws / np.prod(draws.shape[1:]) ** 0.5
    elif name.endswith("gated"):
        draws /= draws.shape[-2] ** 0.5
    else:
        draws *= 0.02
    return torch.from_numpy(draws).to(value.dtype)


@torch.inference_mode()
def let_readings_stop(
    model: nn.Module, stop_ids: Mapping[str, int], images: Tensor, positions: int
) -> None:
    """Let half of the readings end at a position or before it, with stop; most of them just there.

    By the formula, all positions of an A3 module see nearly the same, and no class stands out.

    Args:
        model: one with an A3 module and a classifier for each granularity, in evaluation mode.
        stop_ids: by granularity.
        images: [B, C, H, W] to read; half of them stop at that position or before.
        positions: from 1.

    """
    for name in stop_ids:
        getattr(model, f"{name}_tokenLearner").tokenLearner[1].weight.mul_(ATTENTION_SCALE)
        model.classifier(name).weight.mul_(LOGIT_SCALE)
    for name, logits in model(images).logits().items():
        stop_id = stop_ids[name]
        # What stop lacks to be read at the best of the first positions of each image.
        lacking = logits.max(dim=-1).values - logits[..., stop_id]
        needed = lacking[:, 1 : 1 + positions].min(dim=1).values.median()
        model.classifier(name).bias[stop_id] += needed + MARGIN
