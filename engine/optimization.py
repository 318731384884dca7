"""Optimizers and learning-rate schedules (reference facts, 6)."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adadelta, Adam, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LRScheduler,
    OneCycleLR,
)

SCHEDULES = ("constant", "reference", "cosine", "onecycle")
REFERENCE_PERIOD = 1_000_000


@dataclass(frozen=True)
class Optimization:
    """How the weights are moved.

    Attributes:
        optimizer: adadelta, adam or sgd.
        lr: learning rate; the highest one for onecycle.
        beta1: Adam's, and SGD's momentum.
        rho, eps: Adadelta's.
        grad_clip: largest total L2 norm of the gradient.
        schedule: constant; reference (cosine with restarts every million iterations); cosine and
            onecycle (30% warm-up), which end with the run.
        iterations: length of the run.

    """

    optimizer: str = "adadelta"
    lr: float = 1.0
    beta1: float = 0.9
    rho: float = 0.95
    eps: float = 1e-8
    grad_clip: float = 5.0
    schedule: str = "constant"
    iterations: int = 300_000

    def build(self, parameters: Iterable[nn.Parameter]) -> tuple[Optimizer, LRScheduler]:
        """Optimizer of the parameters, and its schedule, to be stepped every iteration."""
        parameters = list(parameters)
        if self.optimizer == "adam":
            optimizer = Adam(parameters, lr=self.lr, betas=(self.beta1, 0.999), fused=True)
        elif self.optimizer == "sgd":
            optimizer = SGD(parameters, lr=self.lr, momentum=self.beta1)
        else:
            optimizer = Adadelta(parameters, lr=self.lr, rho=self.rho, eps=self.eps)
        return optimizer, self._schedule(optimizer)

    def _schedule(self, optimizer: Optimizer) -> LRScheduler:
        if self.schedule == "reference":
            return CosineAnnealingWarmRestarts(optimizer, T_0=REFERENCE_PERIOD)
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=self.iterations)
        if self.schedule == "onecycle":
            return OneCycleLR(
                optimizer, max_lr=self.lr, total_steps=self.iterations + 1, cycle_momentum=False
            )
        return ConstantLR(optimizer, factor=1.0)
