"""Optimizers and learning-rate schedules (reference facts)."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from engine.adadelta_in_parts import AdadeltaInParts

OPTIMIZERS = ("adadelta", "adam", "adamw", "sgd")
SCHEDULES = ("constant", "reference", "cosine", "onecycle")
ENDING = ("cosine", "onecycle")  # with the run, whose length they depend on
WITH_WARMUP = ("constant", "cosine")
REFERENCE_PERIOD = 1_000_000
EMBEDDINGS = ("cls_token", "pos_embed")


@dataclass(frozen=True)
class Optimization:
    """How the weights are moved.

    Attributes:
        optimizer: adadelta, adam, adamw or sgd.
        lr: learning rate; the highest one where it changes.
        beta1: Adam's, and SGD's momentum.
        rho, eps: Adadelta's.
        weight_decay: 0 or more, of matrices and filters; biases, norms and embeddings have none.
            AdamW's is decoupled from the gradient, that of the others is added to it (L2).
        layer_decay: factor of the learning rate from each block to the one before it, above 0, at
            most 1; embeddings and the extractor stand before the first block, heads after the last.
        grad_clip: largest total L2 norm of the gradient.
        schedule: constant; reference (cosine with restarts every million iterations); cosine and
            onecycle (30% warm-up), which end with the run.
        warmup: iterations in which the rate rises to its value, before constant and cosine.
        iterations: length of the run, warm-up included.

    """

    optimizer: str = "adadelta"
    lr: float = 1.0
    beta1: float = 0.9
    rho: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    grad_clip: float = 5.0
    schedule: str = "constant"
    warmup: int = 0
    iterations: int = 300_000

    def build(self, model: nn.Module) -> tuple[Optimizer, LRScheduler]:
        """Optimizer of what a model trains, and its schedule, to be stepped every iteration."""
        groups = self._groups(model)
        if self.optimizer == "adam":
            optimizer = Adam(groups, lr=self.lr, betas=(self.beta1, 0.999), fused=True)
        elif self.optimizer == "adamw":
            optimizer = AdamW(
                groups, lr=self.lr, betas=(self.beta1, 0.999), weight_decay=0.0, fused=True
            )
        elif self.optimizer == "sgd":
            optimizer = SGD(groups, lr=self.lr, momentum=self.beta1, fused=True)
        else:
            kind = _adadelta([p for group in groups for p in group["params"]])
            optimizer = kind(groups, lr=self.lr, rho=self.rho, eps=self.eps)
        return optimizer, self._schedule(optimizer)

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameters that share a learning rate and a weight decay."""
        trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        blocks = [number for n, _ in trained if (number := block_number(n)) is not None]
        last = max(blocks, default=-1) + 2
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in trained:
            rate = self.lr * self.layer_decay ** (last - _layer(name, last))
            spared = parameter.ndim < 2 or name in (*EMBEDDINGS, "conv_class")  # which is a bias
            decay = 0.0 if spared else self.weight_decay
            group = {"params": [], "lr": rate, "weight_decay": decay}
            groups.setdefault((rate, decay), group)["params"].append(parameter)
        return list(groups.values())

    def _schedule(self, optimizer: Optimizer) -> LRScheduler:
        if self.schedule == "reference":
            return CosineAnnealingWarmRestarts(optimizer, T_0=REFERENCE_PERIOD)
        if self.schedule == "onecycle":
            rates = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(
                optimizer, max_lr=rates, total_steps=self.iterations + 1, cycle_momentum=False
            )
        if not self.warmup:
            return self._after_warmup(optimizer)
        # Made first, as it lowers the rate of the first step.
        rising = LinearLR(optimizer, start_factor=1 / (self.warmup + 1), total_iters=self.warmup)
        return SequentialLR(optimizer, [rising, self._after_warmup(optimizer)], [self.warmup])

    def _after_warmup(self, optimizer: Optimizer) -> LRScheduler:
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=max(1, self.iterations - self.warmup))
        return ConstantLR(optimizer, factor=1.0)


def _adadelta(parameters: Sequence[Tensor]) -> type[Adadelta]:
    """Ours; on a GPU PyTorch's where our kernel can't run."""
    if all(p.device.type == "cpu" for p in parameters):
        return AdadeltaInParts
    if not all(p.is_cuda and p.dtype == torch.float32 for p in parameters):
        return Adadelta
    try:
        # Imported here: not every PyTorch comes with Triton, which also wants a C compiler.
        from engine.fused_adadelta import FusedAdadelta, try_kernel

        try_kernel(parameters[0].device)
    except Exception as error:
        warnings.warn(
            f"Adadelta's steps are PyTorch's, which take longer, as Triton can't be used: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return Adadelta
    return FusedAdadelta


def block_number(parameter: str) -> int | None:
    """Which block, from 0, a parameter is of; None for one of no block."""
    found = re.match(r"blocks\.(\d+)\.", parameter)
    return int(found[1]) if found else None


def before_blocks(parameter: str) -> bool:
    """Whether a parameter stands before the first block: embeddings, patches, extractor."""
    return parameter.startswith((*EMBEDDINGS, "patch_embed", "cnnBackbone", "conv_fpn", "conv1"))


def _layer(name: str, last: int) -> int:
    """Place of a parameter: 0 before the blocks, 1 for the first block, …, `last` after them."""
    block = block_number(name)
    if block is not None:
        return block + 1
    return 0 if before_blocks(name) else last
