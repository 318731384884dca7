import pytest
import torch
from torch import nn

from engine.optimization import Optimization


def rates(schedule: str, iterations: int = 20) -> list[float]:
    optimizer, stepped = Optimization(schedule=schedule, lr=2.0, iterations=iterations).build(
        nn.Linear(2, 2).parameters()
    )
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
    optimizer, schedule = Optimization(schedule="reference").build(nn.Linear(2, 2).parameters())
    for iteration, expected in ((575_000, 0.3828), (999_999, 0.0), (1_000_000, 1.0)):
        schedule.step(iteration)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adadelta", torch.optim.Adadelta), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_optimizers_get_their_settings(name, kind):
    optimizer, _ = Optimization(optimizer=name, lr=0.5, beta1=0.8, rho=0.7, eps=1e-5).build(
        nn.Linear(2, 2).parameters()
    )
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert group["lr"] == 0.5
    expected = {
        "adadelta": {"rho": 0.7, "eps": 1e-5},
        "adam": {"betas": (0.8, 0.999)},
        "sgd": {"momentum": 0.8},
    }
    assert {k: group[k] for k in expected[name]} == expected[name]
