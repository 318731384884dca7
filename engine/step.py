"""One training step: losses over all ranks, gradient, clipping, optimizer, schedule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from engine.distributed import Process

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepResult:
    """What a step came to.

    Attributes:
        losses: means over all ranks, by name; those of weight 0 are left out.
        total: their weighted sum.
        gradient_norm: before clipping.
        skipped: whether loss or gradient was NaN or infinite, and the weights stayed as they were.
        stop: whether any rank was asked to stop.

    """

    losses: dict[str, float]
    total: float
    gradient_norm: float
    skipped: bool = False
    stop: bool = False


class Stepper:
    """Moves a model's weights, one batch at a time.

    Args:
        model: returns losses by name for images and targets; may be wrapped in DDP.
        optimizer, schedule: stepped together.
        grad_clip: largest total L2 norm of the gradient.
        process: for sums over the ranks.
        amp: off, bf16 or fp16: type of the matrix products.
        weights: of losses in the sum, by name; 1 for those not named.

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
    ):
        self.weights = dict(weights or {})
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.grad_clip, self.process = grad_clip, process
        self._amp_type = AMP_TYPES[amp]
        self._scaler = torch.amp.GradScaler(process.device.type, enabled=amp == "fp16")
        self._buffers = list(model.buffers())
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(
        self, images: Tensor, targets: Mapping[str, Tensor], stop: bool = False
    ) -> StepResult:
        """Take a step.

        Args:
            images: [B, C, H, W] in [0, 1].
            targets: what the model learns from, by name.
            stop: this rank was asked to stop, which all are to know.

        """
        # A forward pass moves the statistics of BatchNorm, which a NaN would spoil for good.
        before = [buffer.clone() for buffer in self._buffers]
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            images.device.type, dtype=self._amp_type, enabled=self._amp_type is not None
        ):
            losses = self.model(images, targets)
        # A mean over each rank's own positions would weigh them by how short their words are.
        counts = self.process.total(torch.stack([loss.count for loss in losses.values()]))
        shares = [
            loss.total / count.clamp(min=1)
            for loss, count in zip(losses.values(), counts, strict=True)
        ]
        weights = [self.weights.get(name, 1.0) for name in losses]
        # Those of weight 0 too: DDP wants a gradient for everything that is trained.
        total = sum(weight * share for weight, share in zip(weights, shares, strict=True))
        # DDP averages gradients over the ranks; the sum is wanted.
        self._scaler.scale(total * self.process.world_size).backward()
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.grad_clip)
        # The wish to stop goes along with what is summed anyway.
        summed = [share.detach() for share in shares]
        summed.append(torch.tensor(float(stop), device=images.device))
        *means, stopping = self.process.total(torch.stack(summed)).tolist()
        total = sum(mean * weight for mean, weight in zip(means, weights, strict=True))
        # fp16's scaler leaves out steps and lowers its scale by itself, which is no fault. All the
        # ranks see the same: means are over all of them, and DDP has summed the gradients.
        scaling = math.isfinite(total) and self._scaler.is_enabled()
        skipped = not scaling and not (math.isfinite(total) and torch.isfinite(norm))
        if skipped:
            for buffer, value in zip(self._buffers, before, strict=True):
                buffer.copy_(value)
        else:
            self._scaler.step(self.optimizer)
        self._scaler.update()
        self.schedule.step()
        return StepResult(
            {n: m for n, m, w in zip(losses, means, weights, strict=True) if w},
            total,
            float(norm),
            skipped,
            stopping > 0,
        )

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
