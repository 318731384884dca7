"""Every fast way of training gives the losses and gradients of the plain one.

The plain one is the reference step of tools/bench_train.py: all positions, full logits, attention
maps, as the papers' formulas read.
"""

import numpy as np
import pytest
import torch

from engine.distributed import Process
from engine.optimization import Optimization
from engine.run_form import run_form
from engine.step import Stepper
from models import create_model
from tools.bench_train import plain_losses, problem

ALONE = Process(0, 0, 1, torch.device("cpu"))
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


def built(name):
    torch.manual_seed(0)
    preset, changes = MODELS[name]
    model = create_model(preset, **changes).train()
    model.learn_core_areas(model.config.has_extractor)
    return model


def gradients(model):
    return {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}


def plain(name, dtype):
    """Losses and gradients of the plain step, of a float64 model where `dtype` is that."""
    model = built(name)
    model.fuse_attention(False)
    images, targets = problem(model, BATCH, "cpu")
    if dtype == torch.float64:
        model, images = model.double(), images.double()
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        losses = plain_losses(model, images, targets)
    sum(WEIGHTS.get(n, 1.0) * loss for n, loss in losses.items()).backward()
    return {n: loss.detach() for n, loss in losses.items()}, gradients(model)


class Kept(torch.optim.SGD):
    """Leaves weights and gradients as they are."""

    def step(self, closure=None):
        pass


def fast(name, dtype, parts=1, fused=False, **form):
    """Losses and gradients of the training loop's step."""
    model = built(name)
    images, targets = problem(model, BATCH, "cpu")
    if dtype == torch.float64:
        model, images = model.double(), images.double()
    wrapped = run_form(model, ALONE, **form)
    model.fuse_attention(fused)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = Kept(trained, lr=1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    amp = "bf16" if dtype == torch.bfloat16 else "off"
    step = Stepper(model, optimizer, schedule, 1e9, ALONE, amp, WEIGHTS, wrapped)
    size = BATCH // parts
    pieces = [
        (images[i : i + size], {n: t[i : i + size] for n, t in targets.items()})
        for i in range(0, BATCH, size)
    ]
    return step(pieces).losses, gradients(model)


def difference(one, other):
    return float(torch.linalg.vector_norm((one - other).double()))


def norm(value):
    return float(torch.linalg.vector_norm(value.double()))


FORMS = {
    "heads in chunks, on valid positions": {},
    "filters as they come": {"channels_last": False},
    "fused attention": {"fused": True},
    "in two parts": {"parts": 2},
    "keeping less": {"recomputes": True},
    "keeping less, fused attention": {"recomputes": True, "fused": True},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_equal_to_the_plain_step(name, dtype, allowed, form, monkeypatch):
    if dtype == torch.float32:
        # At a ReLU's kink rounding decides: of a million units, one or the other flips.
        monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.gelu)
    if form.get("parts") and name != "mgp":
        pytest.skip("BatchNorm sees the parts one by one")
    expected, wanted = plain(name, dtype)
    losses, found = fast(name, dtype, **form)
    assert {n: losses[n] for n in expected} == pytest.approx(
        {n: float(v) for n, v in expected.items()}, rel=allowed
    )
    assert set(found) == set(wanted)
    largest = max(map(norm, wanted.values()))
    for parameter, value in wanted.items():
        # A gradient that is 0 but for rounding has no relative error.
        bound = allowed * max(norm(value), 1e-3 * largest)
        assert difference(found[parameter], value) <= bound, parameter


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_bf16_is_as_near_to_exact_as_the_plain_step_in_bf16(name, form):
    if form.get("parts") and name != "mgp":
        pytest.skip("BatchNorm sees the parts one by one")
    exact_losses, exact = plain(name, torch.float64)
    rounded_losses, rounded = plain(name, torch.bfloat16)
    losses, found = fast(name, torch.bfloat16, **form)
    for loss, value in exact_losses.items():
        allowed = 1.5 * abs(float(rounded_losses[loss] - value)) + 1e-2 * abs(float(value))
        assert abs(losses[loss] - float(value)) <= allowed, loss
    errors = []
    for parameter, value in exact.items():
        own, plainly = difference(found[parameter], value), difference(rounded[parameter], value)
        errors.append((own, plainly))
        # How far rounding leads a few numbers astray is chance; all together say more.
        if value.numel() > 1:
            assert own <= 2 * plainly + 1e-3 * norm(value), parameter
    own, plainly = np.linalg.norm(errors, axis=0)
    assert own <= 1.1 * plainly


@pytest.mark.parametrize("recomputes", [False, True])
def test_compiled_models_are_equal_too(recomputes):
    expected, wanted = plain("mgp", torch.float32)
    losses, found = fast("mgp", torch.float32, compiled=True, recomputes=recomputes)
    assert {n: losses[n] for n in expected} == pytest.approx(
        {n: float(v) for n, v in expected.items()}, rel=1e-4
    )
    largest = max(map(norm, wanted.values()))
    for parameter, value in wanted.items():
        bound = 1e-4 * max(norm(value), 1e-3 * largest)
        assert difference(found[parameter], value) <= bound, parameter


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_fused_optimizers_move_weights_as_loops_do(kind):
    moved = {}
    for plainly in (True, False):
        model = built("mgp")
        optimizer, _ = Optimization(optimizer=kind, lr=0.01, weight_decay=0.1).build(model)
        if plainly:
            for group in optimizer.param_groups:
                group["fused"] = False
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=generator) if p.requires_grad else None
            optimizer.step()
        moved[plainly] = dict(model.named_parameters())
    for name, value in moved[True].items():
        assert difference(moved[False][name], value) <= 1e-6 * norm(value) + 1e-12, name
