"""One training step: losses over all ranks, gradient, clipping, optimizer, schedule."""

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from engine.distributed import Process

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}

Part = tuple[Tensor, Mapping[str, Tensor]]  # images [B, C, H, W] in [0, 1], and targets by name


@dataclass(frozen=True)
class StepResult:
    """What a step came to.

    Attributes:
        losses: means over all ranks, by name; those of weight 0 are left out.
        total: their weighted sum.
        gradient_norm: before clipping.
        learning_rate: that it was taken with; the highest of the parameters'.
        skipped: whether loss or gradient was NaN or infinite, and the weights stayed as they were.
        stop: whether any rank was asked to stop.

    """

    losses: dict[str, float]
    total: float
    gradient_norm: float
    learning_rate: float
    skipped: bool = False
    stop: bool = False


class Stepper:
    """Moves a model's weights, one step at a time.

    Args:
        model: returns losses by name for images and targets.
        optimizer, schedule: stepped together.
        grad_clip: largest total L2 norm of the gradient.
        process: for sums over the ranks.
        amp: off, bf16 or fp16: type of the matrix products.
        weights: of losses in the sum, by name; 1 for those not named.
        wrapped: the model as it is run, in DDP or compiled; None for itself.

    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        grad_clip: float,
        process: Process,
        amp: str = "off",
        weights: Mapping[str, float] | None = None,
        wrapped: nn.Module | None = None,
    ):
        self.weights = dict(weights or {})
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.grad_clip, self.process = grad_clip, process
        self._wrapped = model if wrapped is None else wrapped
        self._amp_type = AMP_TYPES[amp]
        self._scaler = torch.amp.GradScaler(process.device.type, enabled=amp == "fp16")
        self._buffers = list(model.buffers())
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # The schedule goes by iterations, those that are skipped included, which PyTorch takes for
        # a mistake if the first one is, as it mostly is in fp16.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)

    def __call__(self, parts: Sequence[Part], stop: bool = False) -> StepResult:
        """Take a step on a batch, which comes in parts where it is too large for the memory.

        Args:
            parts: of the batch, one or more; the step is that of all of them in one.
            stop: this rank was asked to stop, which all are to know.

        """
        # A forward pass moves the statistics of BatchNorm, which a NaN would spoil for good.
        before = [buffer.clone() for buffer in self._buffers]
        self.optimizer.zero_grad(set_to_none=True)
        # A mean over each rank's and part's own positions would weigh them by how short their
        # words are.
        found = [self.model.loss_counts(targets) for _, targets in parts]
        names = list(found[0])
        counts = torch.stack([sum(own[name] for own in found) for name in names])
        # Pixels of core areas are soon more than fp32 can count.
        counts = self.process.total(counts.double()).clamp(min=1)
        weights = counts.new_tensor([self.weights.get(name, 1.0) for name in names])
        shares = torch.zeros_like(counts)
        for number, part in enumerate(parts, start=1):
            shares += self._backward(part, names, weights, counts, last=number == len(parts))
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        # To ask a GPU would be to wait for it; a CPU is spared a pass over all gradients.
        if norm.is_cuda or norm > self.grad_clip:
            nn.utils.clip_grads_with_norm_(self._parameters, self.grad_clip, norm)
        # The wish to stop goes along with what is summed anyway.
        summed = torch.cat([shares, shares.new_tensor([float(stop)])])
        *means, stopping = self.process.total(summed).tolist()
        weights = weights.tolist()
        total = sum(mean * weight for mean, weight in zip(means, weights, strict=True))
        # fp16's scaler leaves out steps and lowers its scale by itself, which is no fault, as long
        # as the scale enlarges anything. All the ranks see the same: means are over all of them,
        # and DDP has summed the gradients.
        scaling = (
            math.isfinite(total) and self._scaler.is_enabled() and self._scaler.get_scale() >= 1
        )
        skipped = not scaling and not (math.isfinite(total) and torch.isfinite(norm))
        if skipped:
            for buffer, value in zip(self._buffers, before, strict=True):
                buffer.copy_(value)
        else:
            self._scaler.step(self.optimizer)
        self._scaler.update()
        learning_rate = max(group["lr"] for group in self.optimizer.param_groups)
        self.schedule.step()
        return StepResult(
            {n: m for n, m, w in zip(names, means, weights, strict=True) if w},
            total,
            float(norm),
            learning_rate,
            skipped,
            stopping > 0,
        )

    def _backward(
        self, part: Part, names: Sequence[str], weights: Tensor, counts: Tensor, last: bool
    ) -> Tensor:
        """Add a part's gradient; its share of each loss's mean."""
        images, targets = part
        waits = isinstance(self._wrapped, DistributedDataParallel) and not last
        with self._wrapped.no_sync() if waits else nullcontext():
            with torch.autocast(
                images.device.type, dtype=self._amp_type, enabled=self._amp_type is not None
            ):
                losses = self._wrapped(images, targets)
            shares = torch.stack([losses[name].total for name in names]) / counts
            # Those of weight 0 too: DDP wants a gradient for everything that is trained. DDP
            # averages gradients over the ranks; the sum is wanted.
            total = (weights * shares).sum() * self.process.world_size
            self._scaler.scale(total).backward()
        return shares.detach()

    def state(self) -> dict[str, dict[str, Any]]:
        """States of optimizer, schedule and scaler, of plain values and tensors."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(
        self, optimizer: dict[str, Any], schedule: dict[str, Any], scaler: dict[str, Any]
    ) -> None:
        """Give them their states back.

        Raises:
            ValueError: they are of other parameters.

        """
        self.optimizer.load_state_dict(optimizer)
        self.schedule.load_state_dict(schedule)
        self._scaler.load_state_dict(scaler)
