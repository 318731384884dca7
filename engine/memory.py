"""How much memory is taken; a GPU that is too small for a batch, and the batch that would fit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from system.peak_memory import peak_memory_mib


class BatchTooLargeError(RuntimeError):
    """The memory does not hold a training step; the message tells which batch it would hold."""


def fitting_batch(
    model: nn.Module, images: Tensor, targets: Mapping[str, Tensor], amp_type: torch.dtype | None
) -> int:
    """How many images a training step has memory for, halving until one works; 0 for none.

    Args:
        model: not wrapped; its gradients are lost.
        images: [B, C, H, W], the batch that was too large.
        targets: of it, by name.
        amp_type: type of the matrix products; None for fp32.

    """
    number = len(images) // 2
    while number:
        model.zero_grad(set_to_none=True)
        if images.is_cuda:
            torch.cuda.empty_cache()
        try:
            with torch.autocast(images.device.type, dtype=amp_type, enabled=amp_type is not None):
                part = {name: target[:number] for name, target in targets.items()}
                losses = model(images[:number], part)
            sum(loss.mean for loss in losses.values()).backward()
        except torch.OutOfMemoryError:
            number //= 2
        else:
            return number
    return 0


def peak_mib(device: str = "cpu") -> float:
    """Largest memory so far, of this process or on the GPU, in MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory_mib()
