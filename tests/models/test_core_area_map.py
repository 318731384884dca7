"""The core-area map from covariances is the pyramid's."""

from dataclasses import fields

import pytest
import torch

from models import create_model

NAME = "acds_str_tiny"


def drawn(draws_pyramid: bool, dtype: torch.dtype, training: bool, frozen: bool = False):
    """The map of random images, what it teaches, and what the norms learn from it."""
    torch.manual_seed(2)
    model = create_model(NAME).to(dtype).train(training)
    extractor = model.cnnBackbone
    with torch.no_grad():
        for norm in (level[1] for level in extractor.smooth):
            for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                values.uniform_(0.5, 1.5)
    if frozen:
        model.freeze_guided_part()
    model.draws_pyramid = draws_pyramid
    features = extractor(torch.rand(3, 3, 32, 128, dtype=dtype))
    with torch.no_grad():
        features = type(features)(
            **{f.name: getattr(features, f.name) + 0.5 for f in fields(features)}
        )
    for name in ("quarter", "half", "full"):
        getattr(features, name).requires_grad_()
    raw = model._map(features)
    (raw * torch.rand(raw.shape, dtype=dtype)).sum().backward()
    trained = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if name.startswith(("cnnBackbone.smooth", "conv_fpn"))
    }
    gradients = {name: getattr(features, name).grad for name in ("quarter", "half", "full")}
    learned = {f"buffer {name}": value for name, value in extractor.smooth.named_buffers()}
    return {"raw": raw.detach(), **gradients, **trained, **learned}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_it_is_the_same_and_teaches_the_same(dtype, tolerance, training, frozen):
    own, plain = (drawn(way, dtype, training, frozen) for way in (False, True))
    assert own.keys() == plain.keys()
    assert own["buffer 1.1.num_batches_tracked"] == int(training)
    for name, expected in plain.items():
        found = own[name]
        if expected is None:
            assert frozen and found is None, name
            continue
        if name == "cnnBackbone.smooth.0.1.bias" and training:
            # The second norm takes off every shift of the first one's.
            assert found.norm() == 0 and expected.norm() < 1e-6 * plain["conv_fpn.0.weight"].norm()
            continue
        error = (found.double() - expected.double()).norm()
        assert error <= tolerance * expected.double().norm(), name
