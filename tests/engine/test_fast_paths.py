"""Every fast way of training gives the losses and gradients of the plain one, on a CPU."""

import numpy as np
import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

from engine.optimization import Optimization

MODELS = ["mgp", "acds", "acds_atd"]
FORMS = {
    "heads in chunks, on valid positions": {},
    "filters as they come": {"channels_last": False},
    "fused attention": {"fused": True},
    "in two parts": {"parts": 2},
    "keeping less": {"recomputes": True, "fused": False},
    "keeping less, fused attention": {"recomputes": True, "fused": True},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_equal_to_the_plain_step(name, dtype, allowed, form, monkeypatch, training_steps):
    if dtype == torch.float32:
        # At a ReLU's kink rounding decides: of a million units, one or the other flips.
        monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.gelu)
    if form.get("parts") and name != "mgp":
        pytest.skip("BatchNorm sees the parts one by one")
    expected, wanted = training_steps.plain(name, dtype)
    losses, found = training_steps.fast(name, dtype, **form)
    assert {n: losses[n] for n in expected} == pytest.approx(expected, rel=allowed)
    training_steps.assert_near(found, wanted, allowed)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_steps_are_as_near_to_exact_as_plain_ones(dtype, name, form, training_steps):
    if form.get("parts") and name != "mgp":
        pytest.skip("BatchNorm sees the parts one by one")
    exact_losses, exact = training_steps.plain(name, torch.float64)
    rounded_losses, rounded = training_steps.plain(name, dtype)
    losses, found = training_steps.fast(name, dtype, **form)
    for loss, value in exact_losses.items():
        allowed = 1.5 * abs(rounded_losses[loss] - value) + 1e-2 * abs(value)
        assert abs(losses[loss] - value) <= allowed, loss
    errors = []
    for parameter, value in exact.items():
        own, plainly = (training_steps.difference(g[parameter], value) for g in (found, rounded))
        errors.append((own, plainly))
        # How far rounding leads a few numbers astray is chance; all together say more.
        if value.numel() > 1:
            assert own <= 2 * plainly + 1e-3 * training_steps.norm(value), parameter
    own, plainly = np.linalg.norm(errors, axis=0)
    assert own <= 1.1 * plainly


def test_compiled_models_are_equal_too(training_steps):
    expected, wanted = training_steps.plain("mgp", torch.float32)
    losses, found = training_steps.fast("mgp", torch.float32, compiled=True)
    assert {n: losses[n] for n in expected} == pytest.approx(expected, rel=1e-4)
    training_steps.assert_near(found, wanted, 1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_compilers_get_encoder_and_decoders_in_one_piece(name, monkeypatch, training_steps):
    expected, wanted = training_steps.plain(name, torch.float64)
    pieces, compiler = [], torch.compile

    def counting(graph, inputs):
        pieces.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(torch, "compile", lambda model: compiler(model, backend=counting))
    losses, found = training_steps.fast(name, torch.float64, compiled=True)
    assert len(pieces) == 1
    assert {n: losses[n] for n in expected} == pytest.approx(expected, rel=1e-9)
    training_steps.assert_near(found, wanted, 1e-9)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_fused_optimizers_move_weights_as_loops_do(kind, training_steps):
    moved = {}
    for plainly in (True, False):
        model = training_steps.built("mgp")
        optimizer, _ = Optimization(optimizer=kind, lr=0.01, weight_decay=0.1).build(model)
        for group in optimizer.param_groups:
            group["fused"] = not plainly
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=generator) if p.requires_grad else None
            optimizer.step()
        moved[plainly] = {n: p.detach() for n, p in model.named_parameters()}
    for name, value in moved[True].items():
        allowed = 1e-6 * training_steps.norm(value) + 1e-12
        assert training_steps.difference(moved[False][name], value) <= allowed, name
