"""Frozen parts stay as they are, and the others learn."""

import copy
from argparse import ArgumentTypeError

import pytest
import torch

from engine.distributed import Process
from engine.freezing import FreezeError, freeze, scope
from engine.optimization import Optimization
from engine.step import Stepper
from models import config_codecs, create_model

ALONE = Process(0, 0, 1, torch.device("cpu"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("acds_mgp_str_tiny", granularities=("char",)).train()


def moved(model) -> set[str]:
    """Names of the parameters that a step moves."""
    codec = config_codecs(model.config)["char"]
    targets = {"char": torch.from_numpy(codec.encode_batch(["word", "art"]))}
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimization = Optimization(optimizer="adamw", lr=0.01)
    step = Stepper(model, *optimization.build(model), 5.0, ALONE)
    step([(torch.rand(2, 3, 32, 128), targets)])
    return {n for n, value in model.named_parameters() if not torch.equal(value, before[n])}


def of_stem(name):
    return name.startswith(("cls_token", "pos_embed", "cnnBackbone", "conv1", "conv_fpn"))


@pytest.mark.parametrize(
    ("name", "scopes", "still"),
    [
        ("acds_str_tiny", ["encoder"], True),
        ("acds_str_tiny", ["blocks:1"], True),
        ("mgp_str_mini_stem8x8_3_32_128", ["stem"], True),
        ("acds_str_tiny", ["guided"], False),
        ("acds_str_tiny", ["heads"], False),
    ],
)
def test_norms_of_what_is_frozen_keep_their_statistics(name, scopes, still):
    torch.manual_seed(0)
    model = create_model(name, granularities=("char",))
    names = list(model.state_dict())
    freeze(model, scopes)
    assert list(model.state_dict()) == names
    images = torch.rand(2, 3, 32, 128)
    before = {n: value.clone() for n, value in model.named_buffers()}
    with torch.no_grad():
        model.encode(images)  # as it is, and as each step sets it
        model.train().encode(images)
        moved = [n for n, value in model.named_buffers() if not torch.equal(value, before[n])]
        assert bool(moved) != still
        if still:
            expected = model.encode(images).tokens
            assert torch.equal(copy.deepcopy(model).eval().encode(images).tokens, expected)


@pytest.mark.parametrize(
    ("scopes", "frozen"),
    [
        (["stem"], of_stem),
        (["blocks:2"], lambda n: of_stem(n) or n.startswith(("blocks.0.", "blocks.1."))),
        (["encoder"], lambda n: not n.startswith(("char_head", "char_tokenLearner"))),
        (["heads"], lambda n: n.startswith(("char_head", "char_tokenLearner"))),
        (["heads", "stem"], lambda n: of_stem(n) or n.startswith(("char_head", "char_token"))),
        (["guided"], lambda n: n.startswith(("cnnBackbone.layer1", "cnnBackbone.smooth"))),
    ],
)
def test_a_scope_stays_and_the_rest_moves(model, scopes, frozen):
    told = freeze(model, scopes)
    assert ", ".join(scopes) in told
    changed = moved(model)
    assert not [name for name in changed if frozen(name)]
    if scopes != ["guided"]:
        trained = {n for n, _ in model.named_parameters() if not frozen(n)}
        # CAFM's class guidance and the map may have a gradient of 0 in a first step.
        assert trained - changed <= {n for n in trained if n.startswith(("conv_", "norm."))}


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("mgp_str_mini_stem8x8_3_32_128", ["guided"], "mgp_str_mini_stem8x8_3_32_128 has none"),
        ("acds_str_tiny", ["blocks:5"], "has 4 blocks"),
        ("acds_str_tiny", ["encoder", "heads"], "leaves nothing to train"),
    ],
)
def test_scopes_that_can_do_nothing_are_refused(name, scopes, message):
    with pytest.raises(FreezeError, match=message):
        freeze(create_model(name, granularities=("char",)), scopes)


@pytest.mark.parametrize("text", ["blocks", "blocks:0", "blocks:x", "blocks:N", "all", ""])
def test_scopes_of_no_meaning_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="must be one of guided"):
        scope(text)
