import torch
import torch.nn.functional as F
from torch import nn

from modules.losses import head_cross_entropy


def test_head_on_counted_positions_equals_cross_entropy_of_all():
    torch.manual_seed(0)
    head = nn.Linear(8, 50).double()
    plain_head = nn.Linear(8, 50).double()
    plain_head.load_state_dict(head.state_dict())
    features = torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True)
    plain_features = features.detach().clone().requires_grad_()
    targets = torch.randint(0, 3, (3, 7)) * torch.randint(0, 16, (3, 7))

    loss = head_cross_entropy(head, features, targets, pad_id=0)
    logits = plain_head(plain_features).flatten(0, 1)
    plain = F.cross_entropy(logits, targets.flatten(), ignore_index=0)
    torch.testing.assert_close(loss.mean, plain)
    assert loss.count == (targets != 0).sum()

    loss.mean.backward()
    plain.backward()
    torch.testing.assert_close(features.grad, plain_features.grad)
    torch.testing.assert_close(head.weight.grad, plain_head.weight.grad)


def test_a_batch_with_nothing_to_learn_costs_nothing_but_reaches_the_head():
    head = nn.Linear(8, 50)
    loss = head_cross_entropy(head, torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.int64), 0)
    loss.mean.backward()
    assert loss.mean.item() == 0.0
    assert head.weight.grad is not None and not head.weight.grad.any()
