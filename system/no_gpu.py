"""Why PyTorch has no GPU to compute on."""

import torch


def why_no_gpu() -> str:
    """In words, for a message: its build, or else the driver."""
    built_for = torch.version.cuda or torch.version.hip
    if built_for is None:
        return "torch sees no GPU: this is its build for CPUs, so install one for GPUs"
    return (
        f"torch, which was built for version {built_for}, sees no GPU: look at the driver "
        "(nvidia-smi) and at CUDA_VISIBLE_DEVICES"
    )
