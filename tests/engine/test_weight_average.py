"""The moving average follows the formula, and is a model by itself."""

import pytest
import torch
from torch import nn

from engine.weight_average import WeightAverage


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_it_is_the_formula_and_takes_statistics_as_they_are():
    model = small()
    average = WeightAverage(model, 0.5)
    expected = model[0].weight.detach().clone()
    for number in range(1, 6):
        with torch.no_grad():
            model[0].weight += number
        model(torch.rand(8, 3))
        average.update(model)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    assert torch.allclose(average.model[0].weight, expected, rtol=1e-6)
    assert not torch.equal(average.model[0].weight, model[0].weight)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert not average.model.training and not any(
        p.requires_grad for p in average.model.parameters()
    )


def test_a_state_goes_on_bit_for_bit():
    model = small()
    one, other = WeightAverage(model, 0.9), WeightAverage(small(), 0.9)
    one.update(model)
    other.restore(one.state())
    with torch.no_grad():
        model[0].weight.mul_(2)
    for average in (one, other):
        average.update(model)
    assert other.updates == one.updates == 2
    for own, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(own, theirs)
    with pytest.raises(RuntimeError, match="state_dict"):
        WeightAverage(nn.Linear(2, 2), 0.9).restore(one.state())
