"""The exponential moving average of a model's weights, which often reads better than the last."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Follows a model's weights: average = decay * average + (1 - decay) * weights.

    Early on the decay is lower, (1 + n) / (10 + n) at the n-th update, so that an average over many
    steps does not hold on to the first weights. Buffers (BatchNorm's statistics, averages
    themselves) are taken as they are.

    Args:
        model: to follow, not wrapped; its weights are the first average.
        decay: 0 to below 1; 0.9999 averages over some 10,000 steps.

    Attributes:
        model: with the average as its weights, in evaluation mode.
        updates: how many there were.

    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take a step's weights in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        own, new = list(self.model.parameters()), list(model.parameters())
        torch._foreach_lerp_(own, new, 1 - decay)
        for buffer, value in zip(self.model.buffers(), model.buffers(), strict=True):
            buffer.copy_(value)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {"updates": self.updates, "model": self.model.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            RuntimeError: it is of another model.

        """
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])
