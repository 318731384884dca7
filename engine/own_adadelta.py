"""What our own forms of PyTorch's Adadelta share: its state, and the order of a step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adadelta

AVERAGES = ("square_avg", "acc_delta")

Group = dict[str, Any]  # parameters, and settings by name
State = dict[str, Tensor]  # of a parameter: how many steps, and the averages


class OwnAdadelta(Adadelta):
    """Equal to `torch.optim.Adadelta`; each takes the other's state.

    Args:
        groups: of parameters.
        lr, rho, eps: as there.

    """

    def __init__(self, groups: Sequence[Group], lr: float, rho: float, eps: float):
        super().__init__(groups, lr=lr, rho=rho, eps=eps)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the weights.

        Args:
            closure: computes loss and gradients anew; None where that is done.

        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                states = [self.state[p] or self._begin(p) for p in moved]
                self._move(number, group, moved, states)
                torch._foreach_add_([s["step"] for s in states], torch.ones(()), alpha=1)
        return loss

    def _move(self, number: int, group: Group, moved: list[Tensor], states: list[State]) -> None:
        """Move a group's parameters that have a gradient, and their averages.

        Args:
            number: the group's, from 0.
            group: its settings.
            moved: the parameters.
            states: of each.

        """
        raise NotImplementedError

    def _begin(self, parameter: Tensor) -> State:
        """A parameter's first state, as PyTorch's Adadelta has and saves it."""
        self.state[parameter] = {"step": torch.zeros((), dtype=torch.get_default_dtype())}
        self.state[parameter] |= {name: torch.zeros_like(parameter) for name in AVERAGES}
        return self.state[parameter]
