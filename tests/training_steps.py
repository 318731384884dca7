"""One training step of a small model, plain and fast, and what it comes to on either device.

The plain one is the reference step of tools/bench_train.py: all positions, full logits, attention
maps, as the papers' formulas read.
"""

import math

import torch

from engine.distributed import Process
from engine.run_form import run_form
from engine.step import Stepper
from models import create_model
from tools.bench_train import plain_losses, problem

SMALL = {"width": 48, "depth": 3, "num_heads": 3, "granularities": ("char", "wp")}
# The linear form's clamp has a gradient that jumps, where rounding decides.
GUIDED = {**SMALL, "guided_blocks": 2, "core_area_form": "sigmoid"}
MODELS = {
    "mgp": ("mgp_str_tiny_patch4_3_32_128", SMALL),
    "acds": ("acds_mgp_str_tiny", GUIDED),
    "acds_atd": ("acds_str_tiny", {**GUIDED, "granularities": ("char",)}),
}
WEIGHTS = {"core_area_loss": 0.5, "guidance_loss": 0.25}
BATCH = 4
AMP = {torch.bfloat16: "bf16", torch.float16: "fp16"}


def alone(device="cpu"):
    return Process(0, 0, 1, torch.device(device, 0) if device == "cuda" else torch.device(device))


def built(name):
    torch.manual_seed(0)
    preset, changes = MODELS[name]
    model = create_model(preset, **changes).train()
    model.learn_core_areas(model.config.has_extractor)
    return model


def given(name, dtype, device):
    """A model with its batch, both in float64 where `dtype` is that."""
    model = built(name)
    images, targets = problem(model, BATCH, "cpu")
    if dtype == torch.float64:
        model, images = model.double(), images.double()
    targets = {key: value.to(device) for key, value in targets.items()}
    return model.to(device), images.to(device), targets


def gradients(model):
    """By name, on the CPU."""
    return {
        n: p.grad.detach().to("cpu", copy=True)
        for n, p in model.named_parameters()
        if p.grad is not None
    }


def plain(name, dtype, device="cpu"):
    """Losses and gradients of the plain step."""
    model, images, targets = given(name, dtype, device)
    model.fuse_attention(False)
    with torch.autocast(device, dtype, enabled=dtype in AMP):
        losses = plain_losses(model, images, targets)
    sum(WEIGHTS.get(n, 1.0) * loss for n, loss in losses.items()).backward()
    return {n: loss.item() for n, loss in losses.items()}, gradients(model)


class Kept(torch.optim.SGD):
    """Leaves weights and gradients as they are."""

    def step(self, closure=None):
        pass


def fast(name, dtype, device="cpu", parts=1, fused=None, **form):
    """Losses and gradients of the training loop's step, with its own choice of attention or not."""
    model, images, targets = given(name, dtype, device)
    wrapped = run_form(model, alone(device), **form)
    if fused is not None:
        model.fuse_attention(fused)
    optimizer = Kept([p for p in model.parameters() if p.requires_grad], lr=1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    amp = AMP.get(dtype, "off")
    step = Stepper(model, optimizer, schedule, 1e9, alone(device), amp, WEIGHTS, wrapped)
    size = BATCH // parts
    pieces = [
        (images[i : i + size], {n: t[i : i + size] for n, t in targets.items()})
        for i in range(0, BATCH, size)
    ]
    for _ in range(17):  # fp16's scale, 2 to the 16th, is halved until it fits
        result = step(pieces)
        if math.isfinite(result.gradient_norm):
            break
    return result.losses, gradients(model)


def norm(value):
    return float(torch.linalg.vector_norm(value.double()))


def difference(one, other):
    return norm(one.double() - other.double())


def assert_near(found, wanted, allowed):
    """Gradients, relative in norm; one that is 0 but for rounding has no relative error."""
    assert set(found) == set(wanted)
    largest = max(map(norm, wanted.values()))
    for parameter, value in wanted.items():
        bound = allowed * max(norm(value), 1e-3 * largest)
        assert difference(found[parameter], value) <= bound, parameter
