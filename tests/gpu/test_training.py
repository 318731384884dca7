"""A training step on a GPU: every fast way, beside the plain step in float64 on the CPU."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adadelta

from engine.memory import fitting_batch
from engine.optimization import Optimization
from engine.run_form import run_form
from engine.step import Stepper
from models import create_model
from tools.bench_train import problem

MODELS = ["mgp", "acds", "acds_atd"]
FORMS = {"eager": {}, "keeping less": {"recomputes": True}, "compiled": {"compiled": True}}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_fp32_equals_the_plain_step_in_float64(name, form, exact_fp32, monkeypatch, training_steps):
    # At a ReLU's kink rounding decides: of a million units, one or the other flips.
    monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.gelu)
    expected, wanted = training_steps.plain(name, torch.float64)
    losses, found = training_steps.fast(name, torch.float32, "cuda", **form)
    assert {n: losses[n] for n in expected} == pytest.approx(expected, rel=1e-4)
    training_steps.assert_near(found, wanted, 1e-3)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_bf16_is_as_near_to_exact_as_the_plain_step_in_bf16(name, form, training_steps):
    _, exact = training_steps.plain(name, torch.float64)
    _, rounded = training_steps.plain(name, torch.bfloat16, "cuda")
    _, found = training_steps.fast(name, torch.bfloat16, "cuda", **form)
    errors = [
        [training_steps.difference(g[n], v) for g in (found, rounded)] for n, v in exact.items()
    ]
    own, plainly = np.linalg.norm(errors, axis=0)
    assert own <= 1.2 * plainly


def test_compiled_parts_of_a_batch_add_up(exact_fp32, training_steps):
    expected, wanted = training_steps.plain("mgp", torch.float64)
    losses, found = training_steps.fast("mgp", torch.float32, "cuda", parts=2, compiled=True)
    assert {n: losses[n] for n in expected} == pytest.approx(expected, rel=1e-4)
    training_steps.assert_near(found, wanted, 1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_heads_alone_keep_the_cpu_waiting_and_before_the_work(name, training_steps):
    model = training_steps.built(name).cuda()
    images, targets = problem(model, 4, "cuda")
    model(images, targets)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            model(images, targets)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in found if "synchroniz" in str(w.message)]
    assert len(waits) <= (0 if name == "acds_atd" else len(model.config.granularities)), waits


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_model_learns_its_batch(amp, training_steps):
    model, process = training_steps.built("mgp").cuda(), training_steps.alone("cuda")
    wrapped = run_form(model, process, amp)
    optimizer, schedule = Optimization(optimizer="adamw", lr=1e-3).build(model)
    step = Stepper(model, optimizer, schedule, 5.0, process, amp, {}, wrapped)
    batch = problem(model, 8, "cuda")
    totals = [step([batch]) for _ in range(40)]
    assert not any(result.skipped for result in totals)
    assert totals[-1].total < 0.7 * totals[0].total


def test_the_reference_s_optimizer_is_one_kernel_and_equals_pytorch_s(training_steps):
    optimization = Optimization(weight_decay=0.1, layer_decay=0.8)
    models = [training_steps.built("acds").cuda() for _ in range(2)]
    for model in models:
        run_form(model, training_steps.alone("cuda"))  # filters with their channels last
    (ours, _), (others, _) = map(optimization.build, models)
    assert type(ours) is not Adadelta
    groups = [{k: g[k] for k in ("params", "lr", "weight_decay")} for g in others.param_groups]
    theirs = Adadelta(groups, rho=optimization.rho, eps=optimization.eps)
    for _ in range(3):
        for one, two in zip(*(m.parameters() for m in models), strict=True):
            if one.requires_grad:
                one.grad = torch.randn_like(one)
                two.grad = one.grad.clone()
        ours.step()
        theirs.step()
    for one, two in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


def counting(function, calls):
    def call(*arguments, **settings):
        calls[function.__name__] += 1
        return function(*arguments, **settings)

    return call


def test_a_group_of_one_over_nccl_changes_nothing(free_port, monkeypatch, training_steps):
    torch.cuda.set_device(0)
    dist.init_process_group("nccl", f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    try:
        found = {}
        for wraps in (False, True):
            model = training_steps.built("acds").cuda()
            wrapped = DistributedDataParallel(model, device_ids=[0]) if wraps else model
            losses = wrapped(*problem(model, 4, "cuda"))
            sum(loss.mean for loss in losses.values()).backward()
            found[wraps] = training_steps.gradients(model)
        training_steps.assert_near(found[True], found[False], 1e-3)
        # One of several asks the group.
        together = replace(training_steps.alone("cuda"), world_size=2)
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
