"""A training step on a GPU: every fast way, beside the plain step in float64 on the CPU."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from engine.distributed import Process
from engine.memory import fitting_batch
from engine.optimization import Optimization
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
FORMS = {"eager": {}, "keeping less": {"recomputes": True}, "compiled": {"compiled": True}}
BATCH = 8


def gpu() -> Process:
    return Process(0, 0, 1, torch.device("cuda", 0))


def built(name):
    torch.manual_seed(0)
    preset, changes = MODELS[name]
    model = create_model(preset, **changes).train()
    model.learn_core_areas(model.config.has_extractor)
    return model


def gradients(model):
    return {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}


def plain(name, dtype, device):
    """Losses and gradients of the plain step."""
    model = built(name)
    model.fuse_attention(False)
    images, targets = problem(model, BATCH, "cpu")
    if dtype == torch.float64:
        model, images = model.double(), images.double()
    model, images = model.to(device), images.to(device)
    targets = {key: value.to(device) for key, value in targets.items()}
    with torch.autocast(device, dtype, enabled=dtype == torch.bfloat16):
        losses = plain_losses(model, images, targets)
    sum(WEIGHTS.get(n, 1.0) * loss for n, loss in losses.items()).backward()
    return {n: float(loss) for n, loss in losses.items()}, gradients(model)


class Kept(torch.optim.SGD):
    """Leaves weights and gradients as they are."""

    def step(self, closure=None):
        pass


def fast(name, amp, **form):
    """Losses and gradients of the training loop's step."""
    model = built(name).cuda()
    images, targets = problem(model, BATCH, "cuda")
    wrapped = run_form(model, gpu(), amp, **form)
    optimizer = Kept([p for p in model.parameters() if p.requires_grad], lr=1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    step = Stepper(model, optimizer, schedule, 1e9, gpu(), amp, WEIGHTS, wrapped)
    return step([(images, targets)]).losses, gradients(model)


def norm(value):
    return float(torch.linalg.vector_norm(value.double()))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_fp32_equals_the_plain_step_in_float64(name, form, exact_fp32, monkeypatch):
    # At a ReLU's kink rounding decides: of a million units, one or the other flips.
    monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.gelu)
    expected, wanted = plain(name, torch.float64, "cpu")
    losses, found = fast(name, "off", **form)
    assert {n: losses[n] for n in expected} == pytest.approx(expected, rel=1e-4)
    assert set(found) == set(wanted)
    largest = max(map(norm, wanted.values()))
    for parameter, value in wanted.items():
        bound = 1e-3 * max(norm(value), 1e-3 * largest)
        assert norm(found[parameter].double() - value) <= bound, parameter


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_bf16_is_as_near_to_exact_as_the_plain_step_in_bf16(name, form):
    _, exact = plain(name, torch.float64, "cpu")
    _, rounded = plain(name, torch.bfloat16, "cuda")
    _, found = fast(name, "bf16", **form)
    own, plainly = np.linalg.norm(
        [[norm(g[n].double() - v) for g in (found, rounded)] for n, v in exact.items()], axis=0
    )
    assert own <= 1.2 * plainly


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_model_learns_its_batch(amp):
    model = built("mgp").cuda()
    wrapped = run_form(model, gpu(), amp)
    optimization = Optimization(optimizer="adamw", lr=1e-3)
    optimizer, schedule = optimization.build(model)
    step = Stepper(model, optimizer, schedule, 5.0, gpu(), amp, {}, wrapped)
    batch = problem(model, BATCH, "cuda")
    totals = [step([batch]) for _ in range(40)]
    assert not any(result.skipped for result in totals)
    assert totals[-1].total < 0.7 * totals[0].total


def counting(function, calls):
    def call(*arguments, **settings):
        calls[function.__name__] += 1
        return function(*arguments, **settings)

    return call


def test_a_group_of_one_over_nccl_changes_nothing(free_port, monkeypatch):
    torch.cuda.set_device(0)
    dist.init_process_group("nccl", f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    try:
        found = {}
        for wraps in (False, True):
            model = built("acds").cuda()
            wrapped = DistributedDataParallel(model, device_ids=[0]) if wraps else model
            losses = wrapped(*problem(model, BATCH, "cuda"))
            sum(loss.mean for loss in losses.values()).backward()
            found[wraps] = gradients(model)
        for name, value in found[False].items():
            assert norm(found[True][name] - value) <= 1e-3 * max(norm(value), 1e-3), name
        together = Process(0, 0, 2, torch.device("cuda", 0))  # which asks the group
        calls = {"all_reduce": 0, "broadcast": 0}
        for name in calls:
            monkeypatch.setattr(dist, name, counting(getattr(dist, name), calls))
        assert together.total(torch.ones(3, device="cuda")).tolist() == [1, 1, 1]
        before = [buffer.clone() for buffer in model.buffers()]
        together.share_buffers(model)
        assert all(map(torch.equal, before, model.buffers()))
        assert calls == {"all_reduce": 1, "broadcast": len(before)}
    finally:
        dist.destroy_process_group()


def test_a_batch_that_fits_is_found():
    torch.cuda.empty_cache()
    model = create_model("mgp_str_base_patch4_3_32_128").cuda().train()
    images, targets = problem(model, 256, "cuda")
    limit = 6 * 2**30 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit)
    try:
        fits = fitting_batch(model, images, targets, None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 0 < fits < 128
