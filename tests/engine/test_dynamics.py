"""Thirty steps of training equal the reference's."""

import pytest
import torch

from engine.distributed import Process
from engine.optimization import Optimization
from engine.step import Stepper
from models import config_codecs, create_model

ALONE = Process(0, 0, 1, torch.device("cpu"))


def reference_stepper(model, process=ALONE, **changes) -> Stepper:
    optimization = Optimization(schedule="reference", **changes)
    optimizer, schedule = optimization.build(model)
    return Stepper(model, optimizer, schedule, optimization.grad_clip, process)


@pytest.mark.parametrize("fused_attention", [True, False])
def test_thirty_steps(fixtures, reference, fused_attention):
    log = fixtures("dynamics_mgp_tiny_t2.json")["log"]
    # The other attention is the same to the last digits; a few steps tell.
    log = log if fused_attention else log[:5]
    model = reference.load_reference(create_model("mgp_str_tiny_patch4_3_32_128")).train()
    model.fuse_attention(fused_attention)
    codecs = config_codecs(model.config)
    targets = {n: torch.from_numpy(c.encode_batch(reference.LABELS)) for n, c in codecs.items()}
    images = torch.from_numpy(reference.reference_input())
    step = reference_stepper(model)
    for expected in log:
        result = step([(images, targets)])
        assert result.total == pytest.approx(expected["total"], rel=1e-3)
        assert result.gradient_norm == pytest.approx(expected["grad_norm"], rel=1e-3)
        for name in ("char", "bpe", "wp"):
            assert result.losses[f"{name}_loss"] == pytest.approx(expected[name], rel=1e-3)
        rate = step.optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(expected["lr_after"], rel=1e-12)


def test_a_loss_that_is_not_a_number_leaves_weights_and_statistics_alone():
    torch.manual_seed(0)
    model = create_model("mgp_str_mini_stem8x8_3_32_128").train()
    codecs = config_codecs(model.config)
    targets = {n: torch.from_numpy(c.encode_batch(["ab"])) for n, c in codecs.items()}
    step = reference_stepper(model)
    good = torch.rand(1, 3, 32, 128)
    assert not step([(good, targets)]).skipped
    before = {n: v.clone() for n, v in model.state_dict().items()}
    assert step([(torch.full((1, 3, 32, 128), torch.nan), targets)]).skipped
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    result = step([(good, targets)])
    assert not result.skipped and 0 < result.total < 100


def one_step(amp: str = "off", **changes):
    torch.manual_seed(0)
    model = create_model("mgp_str_mini_stem8x8_3_32_128").train()
    codecs = config_codecs(model.config)
    targets = {n: torch.from_numpy(c.encode_batch(["ab", "c"])) for n, c in codecs.items()}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimization = Optimization(optimizer="sgd", lr=1.0, beta1=0.0, **changes)
    optimizer, schedule = optimization.build(model)
    step = Stepper(model, optimizer, schedule, optimization.grad_clip, ALONE, amp)
    result = step([(torch.rand(2, 3, 32, 128), targets)])
    moved = sum(float((p.detach() - before[n]).square().sum()) for n, p in model.named_parameters())
    return result, moved**0.5


def test_the_rate_that_is_told_is_the_steps_own_and_the_heads():
    rising = {"layer_decay": 0.5, "schedule": "cosine", "warmup": 3, "iterations": 10}
    result, _ = one_step(**rising)
    assert result.learning_rate == pytest.approx(1 / 4)


def test_gradients_that_stay_infinite_are_not_laid_to_fp16s_scale():
    torch.manual_seed(0)
    model = create_model("mgp_str_mini_stem8x8_3_32_128", granularities=("char",)).train()
    codec = config_codecs(model.config)["char"]
    targets = {"char": torch.from_numpy(codec.encode_batch(["ab"]))}
    optimizer, schedule = Optimization().build(model)
    step = Stepper(model, optimizer, schedule, 5.0, ALONE, "fp16")
    images = torch.rand(1, 3, 32, 128)
    before = model.cls_token.detach().clone()
    assert not step([(images, targets)]).skipped
    assert not torch.equal(model.cls_token, before)
    model.cls_token.register_hook(lambda gradient: gradient * torch.inf)
    skipped = [step([(images, targets)]).skipped for _ in range(20)]
    # The scale halves from 65,536 to 1, which is the scaler's to do, and then it is a fault.
    assert skipped == [False] * 17 + [True] * 3
    state = step.state()
    resumed = Stepper(model, *Optimization().build(model), 5.0, ALONE, "fp16")
    resumed.restore(**state)
    assert resumed.state()["scaler"] == state["scaler"]
    assert state["scaler"]["scale"] < 65536


@pytest.mark.parametrize("clip", [0.01, 0.5])
def test_the_gradient_is_clipped_to_its_norm(clip):
    result, moved = one_step(grad_clip=clip)
    assert result.gradient_norm > clip
    assert moved == pytest.approx(clip, rel=1e-3)


def test_bf16_is_near_and_not_the_same():
    exact, _ = one_step()
    rounded, _ = one_step(amp="bf16")
    assert rounded.total != exact.total
    assert rounded.total == pytest.approx(exact.total, rel=2e-2)
