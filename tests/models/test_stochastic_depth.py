"""Stochastic depth: nothing in evaluation, whole branches in training, on every path."""

import pytest
import torch

from models import config_codecs, create_model

MODELS = ["mgp_str_mini_stem8x8_3_32_128", "acds_str_tiny", "acds_mgp_str_tiny"]


def losses(model, seed):
    torch.manual_seed(seed)
    codecs = config_codecs(model.config)
    targets = {n: torch.from_numpy(c.encode_batch(["ab", "c"])) for n, c in codecs.items()}
    with torch.no_grad():
        found = model.train()(torch.ones(2, model.config.channels, 32, 128), targets)
    return [float(loss.mean) for loss in found.values()]


@pytest.mark.parametrize("name", MODELS)
def test_it_draws_in_training_only(name):
    torch.manual_seed(0)
    model = create_model(name)
    image = torch.rand(1, model.config.channels, 32, 128)
    with torch.no_grad():
        before = model.eval()(image).char
        model.drop_blocks(0.9)
        assert torch.equal(model.eval()(image).char, before)
        model.drop_blocks(0.0)
        still = losses(model, 1)
        model.drop_blocks(0.9)
        assert losses(model, 1) != still
        assert losses(model, 1) == losses(model, 1) != losses(model, 2)
        model.drop_blocks(0.0)
        assert losses(model, 1) == pytest.approx(still, rel=1e-5)
        model.drop_blocks(0.5)
        model.load_state_dict(create_model(name).state_dict())  # no entries of its own


def test_rates_rise_with_depth():
    model = create_model("mgp_str_mini_stem8x8_3_32_128")  # four blocks
    model.drop_blocks(0.3)
    rates = [block.drop_path2.probability for block in model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
