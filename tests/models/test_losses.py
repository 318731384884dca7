import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modules.head_losses import counted_positions, head_losses
from modules.losses import cross_entropy


def losses_of(head, features, targets, smoothing=0.0):
    targets = {"char": targets}
    positions = counted_positions(targets, {"char": 0})
    return head_losses({"char": head}, {"char": features}, targets, positions, smoothing)["char"]


def problem():
    torch.manual_seed(0)
    features = torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 3, (3, 7)) * torch.randint(0, 16, (3, 7))
    return features, targets


def equal(loss, features, plain, plain_features):
    torch.testing.assert_close(loss.mean, plain)
    loss.mean.backward()
    plain.backward()
    torch.testing.assert_close(features.grad, plain_features.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_head_on_counted_positions_equals_cross_entropy_of_all(smoothing):
    features, targets = problem()
    head = nn.Linear(8, 50).double()
    plain_head = nn.Linear(8, 50).double()
    plain_head.load_state_dict(head.state_dict())
    plain_features = features.detach().clone().requires_grad_()

    loss = losses_of(head, features, targets, smoothing)
    logits = plain_head(plain_features).flatten(0, 1)
    form = {"ignore_index": 0, "label_smoothing": smoothing}
    equal(loss, features, F.cross_entropy(logits, targets.flatten(), **form), plain_features)
    assert loss.count == (targets != 0).sum()
    torch.testing.assert_close(head.weight.grad, plain_head.weight.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_padding_counts_in_no_cross_entropy(smoothing):
    logits, targets = problem()
    targets %= 8
    counted = targets != 0
    plain_logits = logits.detach().clone().requires_grad_()
    plain = F.cross_entropy(plain_logits[counted], targets[counted], label_smoothing=smoothing)
    loss = cross_entropy(logits, targets, 0, smoothing)
    equal(loss, logits, plain, plain_logits)
    assert loss.count == counted.sum()


def test_a_batch_with_nothing_to_learn_costs_nothing_but_reaches_the_head():
    head = nn.Linear(8, 50)
    loss = losses_of(head, torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.int64))
    loss.mean.backward()
    assert loss.mean.item() == 0.0
    assert head.weight.grad is not None and not head.weight.grad.any()
