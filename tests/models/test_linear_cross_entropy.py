"""The chunked loss of a head equals the plain one: value and every gradient."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modules.linear_cross_entropy import CLASSES_AT_ONCE, COLUMNS, linear_cross_entropy

CHUNKS = [1, 7, 20, 1000]
POSITIONS, WIDTH, CLASSES = 20, 16, 300


@pytest.fixture(params=[64, 300])
def classes_at_once(request, monkeypatch):
    """The head's classes in parts, the last of them smaller, or all together."""
    monkeypatch.setitem(CLASSES_AT_ONCE, "cpu", request.param)


def problem(dtype):
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, CLASSES, dtype=dtype)
    features = torch.randn(POSITIONS, WIDTH, dtype=dtype) * 3
    return head, features, torch.randint(0, CLASSES, (POSITIONS,))


def gradients(loss_of, dtype, scale=0.37):
    """Loss, and gradients of features, weight and bias, of a part of the loss."""
    head, features, targets = problem(dtype)
    features.requires_grad_()
    loss = loss_of(head, features, targets)
    (loss * scale).backward()
    return [loss.detach(), features.grad, head.weight.grad, head.bias.grad]


def plain(head, features, targets, smoothing=0.0):
    logits = head(features).to(torch.float64)
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)


def distance(ours, others):
    """Largest relative difference in norm."""
    pairs = zip(ours, others, strict=True)
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in pairs)


@pytest.mark.usefixtures("classes_at_once")
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_loss_and_gradients_are_the_plain_ones(dtype, tolerance, smoothing, chunk):
    ours = gradients(lambda *a: linear_cross_entropy(*a, smoothing, chunk), dtype)
    assert [g.dtype for g in ours] == [dtype] * 4
    assert distance(ours, gradients(lambda *a: plain(*a, smoothing), dtype)) < tolerance


@pytest.mark.usefixtures("classes_at_once")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_columns_up_to_a_multiple_change_nothing(monkeypatch, smoothing):
    plainly = gradients(lambda *a: plain(*a, smoothing), torch.float64)
    monkeypatch.setitem(COLUMNS, "cpu", 8)
    assert CLASSES % 8
    ours = gradients(lambda *a: linear_cross_entropy(*a, smoothing, 7), torch.float64)
    assert distance(ours, plainly) < 1e-9


@pytest.mark.usefixtures("classes_at_once")
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_it_is_as_near_to_the_truth_as_the_plain_one(dtype, smoothing, chunk):
    def in_half(loss_of):
        def run(head, features, targets):
            with torch.autocast("cpu", dtype):
                # As a LayerNorm gives them on CPUs.
                return loss_of(head, features.to(dtype), targets, smoothing)

        return gradients(run, torch.float32)

    truth = gradients(lambda *a: plain(*a, smoothing), torch.float64)
    ours = in_half(lambda *a: linear_cross_entropy(*a, chunk=chunk))
    for own, other, exact in zip(ours, in_half(plain), truth, strict=True):
        assert distance([own], [exact]) < 1.1 * distance([other], [exact]) + 1e-6


@pytest.mark.usefixtures("classes_at_once")
def test_the_gradient_of_what_is_almost_sure_does_not_drown_in_rounding():
    """The target's softmax less 1 is next to nothing."""
    torch.manual_seed(0)
    head, features = nn.Linear(WIDTH, CLASSES), torch.randn(5000, WIDTH) * 20
    two = head(features).topk(2)
    lead = two.values[:, 0] - two.values[:, 1]
    sure = (lead > 6) & (lead < 9)
    features, targets = features[sure], two.indices[sure, 0]
    assert len(features) > 20

    def feature_gradients(loss_of, dtype, autocast=False):
        own, inputs = copy.deepcopy(head).to(dtype), features.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = loss_of(own, inputs, targets)
        return torch.autograd.grad(loss, [inputs, own.weight, own.bias])

    truth = feature_gradients(plain, torch.float64)
    assert distance(feature_gradients(linear_cross_entropy, torch.float32), truth) < 1e-4
    error = distance(feature_gradients(plain, torch.float32, autocast=True), truth)
    ours = feature_gradients(linear_cross_entropy, torch.float32, autocast=True)
    assert distance(ours, truth) < 1.1 * error


def test_nothing_to_learn_has_gradients_of_nothing():
    head, features, targets = problem(torch.float32)
    features.requires_grad_()
    loss = linear_cross_entropy(head, features[:0], targets[:0], smoothing=0.1)
    loss.backward()
    assert loss == 0
    assert not any(values.grad.any() for values in (features, head.weight, head.bias))


def test_large_logits_do_not_overflow():
    head, features, targets = problem(torch.float32)
    loss = linear_cross_entropy(head, features * 1e4, targets, chunk=7)
    assert torch.isfinite(loss)
    torch.testing.assert_close(loss, plain(head, features * 1e4, targets).float())


def test_what_is_not_trained_gets_no_gradient():
    head, features, targets = problem(torch.float32)
    head.requires_grad_(False)
    features.requires_grad_()
    linear_cross_entropy(head, features, targets).backward()
    assert features.grad is not None and head.weight.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(head, features, targets).requires_grad


def test_few_logits_exist_at_a_time():
    """Hundreds of positions of a large head: the plain way holds all their logits, and more."""
    head, features = nn.Linear(2, 50_000), torch.randn(600, 2)
    targets = torch.randint(0, 50_000, (600,))
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes.append(result.numel())
            return result

    with Watch():
        linear_cross_entropy(head, features, targets, chunk=20).backward()
    of_the_head = {2 * 50_000, 50_000}
    assert max({*sizes} - of_the_head) == 20 * CLASSES_AT_ONCE["cpu"]
