"""Our forms of Adadelta; the GPU's with its kernel run by Triton's interpreter on the CPU."""

import copy
import importlib
import sys

import pytest
import torch
from torch import nn
from torch.optim import Adadelta

from engine import adadelta_in_parts
from engine.adadelta_in_parts import AdadeltaInParts

MODULE = "engine.fused_adadelta"


@pytest.fixture(params=["in parts", "fused"])
def own(request, monkeypatch):
    """One of the classes, and its largest relative distance from PyTorch's without `foreach`."""
    if request.param == "in parts":
        monkeypatch.setattr(adadelta_in_parts, "PART", 1000)
        yield AdadeltaInParts, 0
        return
    if torch.cuda.is_available():
        pytest.skip("tests/gpu has it; Triton's interpreter, up to 3.5, leaves its compiler broken")
    pytest.importorskip("triton", reason="this build of PyTorch comes without Triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE).FusedAdadelta, 1e-5
    sys.modules.pop(MODULE)


def small_model():
    """Of several kernel programs' numbers, some of them with the channels last."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 90, 3), nn.BatchNorm2d(90), nn.Linear(70, 50))
    model[0].to(memory_format=torch.channels_last)
    model[2].bias.requires_grad_(False)  # gets no gradient
    return model


def optimizer_of(model, kind, **form):
    groups = [
        {"params": [*model[0].parameters(), *model[1].parameters()], "weight_decay": 0.1},
        {"params": [*model[2].parameters()], "lr": 0.7},
    ]
    return kind(groups, lr=0.5, rho=0.9, eps=1e-6, **form)


def give_gradients(model, other):
    """The same, anywhere in memory, in any layout."""
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        if one.requires_grad:
            one.grad = torch.randn(one.shape)
            two.grad = one.grad.clone()


def assert_equal(model, optimizer, other, others, tolerance):
    for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=tolerance, atol=1e-2 * tolerance)
        state, wanted = optimizer.state.get(parameter, {}), others.state.get(expected, {})
        assert set(state) == set(wanted)
        for name, value in wanted.items():
            torch.testing.assert_close(state[name], value, rtol=tolerance, atol=1e-7 * tolerance)


def test_it_equals_the_plain_one_and_takes_its_state(own):
    kind, tolerance = own
    model = small_model()
    other = copy.deepcopy(model)
    optimizer, others = optimizer_of(model, kind), optimizer_of(other, Adadelta, foreach=False)
    for number in range(4):
        for group in (*optimizer.param_groups, *others.param_groups):
            group["lr"] *= 0.9
        give_gradients(model, other)
        versions = [p._version for p in model.parameters()]
        optimizer.step()
        others.step()
        moved = [p._version > v for p, v in zip(model.parameters(), versions, strict=True)]
        assert moved == [p.requires_grad for p in model.parameters()]
        assert_equal(model, optimizer, other, others, tolerance)
        if number == 1:
            states = [copy.deepcopy(o.state_dict()) for o in (optimizer, others)]
            for value in states[1]["state"].values():  # as a file may have it
                value["square_avg"] = value["square_avg"].contiguous()
            optimizer.load_state_dict(states[1])
            others.load_state_dict(states[0])
    assert optimizer.state[model[0].weight]["step"] == 4
    model, optimizer = copy.deepcopy((model, optimizer))
    model.to(memory_format=torch.contiguous_format)
    give_gradients(model, other)
    optimizer.step()
    others.step()
    assert_equal(model, optimizer, other, others, tolerance)


def test_a_large_parameter_is_moved_in_parts(monkeypatch):
    monkeypatch.setattr(adadelta_in_parts, "PART", 1000)
    sizes = []
    monkeypatch.setattr(
        adadelta_in_parts, "adadelta", lambda moved, *_, **__: sizes.append(moved[0].numel())
    )
    parameters = [nn.Parameter(torch.ones(50, 50)), nn.Parameter(torch.ones(3))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    AdadeltaInParts([{"params": parameters}], lr=1.0, rho=0.9, eps=1e-6).step()
    assert sizes == [1000, 1000, 500, 3]


def test_it_computes_the_gradients_where_asked(own):
    kind, _ = own
    parameter = nn.Parameter(torch.ones(3))
    optimizer = kind([{"params": [parameter]}], lr=1.0, rho=0.9, eps=1e-6)

    def loss():
        optimizer.zero_grad()
        total = parameter.square().sum()
        total.backward()
        return total

    assert optimizer.step(loss) == 3
    assert (parameter < 1).all()
