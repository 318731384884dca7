"""The model as training runs it: attention kernel, memory layout, compiled, over all ranks."""

import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from engine.distributed import Process
from modules.acds_encoder import AcdsEncoder
from system.freed_memory import keep_freed_memory


def run_form(
    model: nn.Module,
    process: Process,
    amp: str = "off",
    channels_last: bool = True,
    compiled: bool = False,
    recomputes: bool = False,
) -> nn.Module:
    """Set a model, and on a CPU this process's memory, up for training; what to call in its place.

    Args:
        model: on the process's device, not wrapped; it stays usable by itself, with the same
            weights.
        process: its device, and how many train together.
        amp: type of the matrix products, off for fp32.
        channels_last: lay images and filters out with their channels side by side. Convolutions
            want it, on tensor cores and on CPUs: a step of acds_str_tiny in bf16 takes half as
            long.
        compiled: by torch.compile, whose first steps take minutes.
        recomputes: keep less of each step for its backward pass, see `modules.recomputing`.

    """
    # On CPUs the fused kernel's backward pass is slower than products in bf16, and no faster in
    # fp32, where it keeps less, though.
    on_gpu = process.device.type == "cuda"
    if not on_gpu and not recomputes:
        # What is kept is in pieces: where memory is short, a tenth more of it is needed.
        keep_freed_memory()
    model.fuse_attention(on_gpu or (recomputes and amp == "off"))
    # On CPUs again; what is compiled is left to the compiler.
    model.attend_by_hand(not on_gpu and not compiled)
    model.pack_products(not on_gpu and not compiled)
    model.fold_decoders(True)
    model.recompute(recomputes)
    if isinstance(model, AcdsEncoder):
        model.draws_pyramid = False
    if channels_last:
        for module in model.modules():
            # A3's grouped ones are products of tokens, which gain nothing; and on CPUs PyTorch
            # (seen in 2.11 to 2.15) computes wrong gradients of grouped filters in that layout, in
            # float64 and bf16.
            if isinstance(module, nn.Conv2d) and module.groups == 1:
                module.to(memory_format=torch.channels_last)
    wrapped = torch.compile(model) if compiled else model
    if process.world_size > 1:
        gpus = [process.device.index] if on_gpu else None
        # It is about filters of one pixel, whose strides say nothing: their layouts are the same.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view", UserWarning)
        wrapped = DistributedDataParallel(wrapped, device_ids=gpus)
    return wrapped
