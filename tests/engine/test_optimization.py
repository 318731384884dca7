import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from engine.adadelta_in_parts import AdadeltaInParts
from engine.optimization import Optimization, _adadelta
from models import create_model


def rates(schedule: str, iterations: int = 20, **changes) -> list[float]:
    optimization = Optimization(schedule=schedule, lr=2.0, iterations=iterations, **changes)
    optimizer, stepped = optimization.build(nn.Linear(2, 2))
    seen = []
    for _ in range(iterations):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepped.step()
    return seen


def test_constant_stays():
    assert set(rates("constant")) == {2.0}


def test_cosine_falls_to_zero_with_the_run():
    seen = rates("cosine")
    assert seen[0] == 2.0
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.05


def test_onecycle_warms_up_and_falls():
    seen = rates("onecycle")
    assert max(seen) == pytest.approx(2.0, rel=0.05)
    assert seen[0] < 0.2
    assert seen[-1] < 0.1


def test_reference_falls_over_a_million_iterations_and_restarts():
    optimizer, schedule = Optimization(schedule="reference").build(nn.Linear(2, 2))
    for iteration, expected in ((575_000, 0.3828), (999_999, 0.0), (1_000_000, 1.0)):
        schedule.step(iteration)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adadelta", AdadeltaInParts),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
    ],
)
def test_optimizers_get_their_settings(name, kind):
    optimizer, _ = Optimization(optimizer=name, lr=0.5, beta1=0.8, rho=0.7, eps=1e-5).build(
        nn.Linear(2, 2)
    )
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert group["lr"] == 0.5
    expected = {
        "adadelta": {"rho": 0.7, "eps": 1e-5},
        "adam": {"betas": (0.8, 0.999)},
        "adamw": {"betas": (0.8, 0.999)},
        "sgd": {"momentum": 0.8},
    }
    assert {k: group[k] for k in expected[name]} == expected[name]


def test_without_triton_a_gpu_s_adadelta_is_pytorch_s_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "engine.fused_adadelta", None)  # not to be imported
    parameter = SimpleNamespace(is_cuda=True, dtype=torch.float32, device=torch.device("cuda"))
    with pytest.warns(RuntimeWarning, match="take longer, as Triton can't be used"):
        assert _adadelta([parameter]) is torch.optim.Adadelta


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_rises_evenly_and_then_goes_on_as_without(schedule):
    seen = rates(schedule, iterations=20, warmup=4)
    assert seen[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert seen[4:] == pytest.approx(rates(schedule, iterations=16))


def test_a_warm_up_resumes_where_it_was():
    def build():
        optimization = Optimization("sgd", 2.0, schedule="cosine", warmup=4, iterations=20)
        return optimization.build(nn.Linear(2, 2))

    whole = rates("cosine", warmup=4)
    for stop in (2, 4, 5, 11):
        optimizer, schedule = build()
        for _ in range(stop):
            optimizer.step()
            schedule.step()
        states = optimizer.state_dict(), schedule.state_dict()
        optimizer, schedule = build()
        optimizer.load_state_dict(states[0])
        schedule.load_state_dict(states[1])
        seen = []
        for _ in range(stop, 20):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert seen == whole[stop:]


@pytest.mark.parametrize("name", ["mgp_str_mini_stem8x8_3_32_128", "acds_mgp_str_tiny"])
def test_weight_decay_spares_norms_biases_and_embeddings(name):
    model = create_model(name)
    optimizer, _ = Optimization("adamw", 0.1, weight_decay=0.05).build(model)
    names = {id(p): n for n, p in model.named_parameters()}
    decay = {
        names[id(p)]: group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert set(decay) == {n for n, p in model.named_parameters() if p.requires_grad}
    spared = {n for n, value in decay.items() if value == 0}
    assert {"cls_token", "pos_embed", "char_head.bias", "blocks.0.norm1.weight"} <= spared
    assert not any(n.endswith(("proj.weight", "qkv.weight", "head.weight")) for n in spared)
    assert {decay[n] for n in decay if n not in spared} == {0.05}


def test_each_layer_has_its_rate():
    model = create_model("acds_mgp_str_tiny")  # four blocks
    optimizer, _ = Optimization("adamw", 1.0, layer_decay=0.5).build(model)
    names = {id(p): n for n, p in model.named_parameters()}
    rate = {names[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rate["char_head.weight"] == rate["wp_tokenLearner.norm.weight"] == rate["gated"] == 1
    assert rate["blocks.3.norm1.weight"] == 0.5 and rate["blocks.0.attn.qkv.weight"] == 0.5**4
    assert rate["pos_embed"] == rate["conv1.weight"] == 0.5**5
    assert {v for n, v in rate.items() if n.startswith("cnnBackbone")} == {0.5**5}


def test_without_choices_there_is_one_group_in_the_models_order():
    model = create_model("acds_mgp_str_tiny")
    optimizer, _ = Optimization().build(model)
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [
        id(p) for p in model.parameters() if p.requires_grad
    ]
