"""Packed layers give what the plain ones give, and leave the model as it is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import create_model
from models.reading_path import reading_path
from modules import greedy, packed_linear
from modules.greedy import read_until_stop
from modules.packed_block import PackedBlock, pack_blocks
from modules.packed_linear import AT_ONCE, Linear, PackedClasses, PackedLinear, can_be_packed
from modules.transformer_block import TransformerBlock

needs_packing = pytest.mark.skipif(
    not can_be_packed(torch.zeros(1)), reason="no packed products on this processor"
)


@needs_packing
@pytest.mark.parametrize("gelu_fits", [True, False])
@pytest.mark.parametrize("shape", [(5, 48), (2, 7, 48), (1, 48), (0, 48)])
def test_a_packed_layer_equals_the_plain_one(monkeypatch, shape, gelu_fits):
    monkeypatch.setattr(packed_linear, "gelu_fits_product", lambda: gelu_fits)
    torch.manual_seed(0)
    linear, values = nn.Linear(48, 80), torch.randn(shape)
    with torch.inference_mode():
        plain = linear(values)
        torch.testing.assert_close(PackedLinear(linear)(values), plain, rtol=1e-5, atol=1e-5)
        base = torch.randn_like(plain)
        before = base.clone()
        added = PackedLinear(linear)(values, base)
        torch.testing.assert_close(added, before + plain, rtol=1e-5, atol=1e-5)
        assert torch.equal(base, before)
        active = PackedLinear(linear, gelu=True)(values)
        torch.testing.assert_close(active, F.gelu(plain), rtol=1e-5, atol=1e-5)


@needs_packing
@pytest.mark.parametrize("shape", [(5, 48), (2, 7, 48)])
def test_a_layer_that_packs_learns_as_the_plain_one(shape):
    torch.manual_seed(0)
    layer, values = Linear(48, 80), torch.randn(shape, requires_grad=True)
    found = {}
    for packs in (False, True):
        layer.packs = packs
        result = layer(values)
        result.sin().sum().backward()
        found[packs] = [result, values.grad, layer.weight.grad, layer.bias.grad]
        values.grad = layer.weight.grad = layer.bias.grad = None
    torch.testing.assert_close(found[True], found[False], rtol=1e-5, atol=1e-5)


@needs_packing
@pytest.mark.parametrize("logits", [1, 7 * 30, 10**6])
def test_classes_packed_in_parts_are_read_as_the_layer(monkeypatch, logits):
    monkeypatch.setattr(greedy, "PACKED_LOGITS", logits)
    monkeypatch.setitem(AT_ONCE, torch.float32, 30)
    torch.manual_seed(0)
    head, features = nn.Linear(48, 80), 3 * torch.randn(20, 7, 48)
    packed = PackedClasses(head)
    assert len(packed.parts) == 3
    with torch.inference_mode():
        ids, probabilities = read_until_stop(features, packed, stop_id=3)
        expected_ids, expected = read_until_stop(features, head, stop_id=3)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(probabilities, expected)


@needs_packing
def test_in_bf16_it_rounds_no_more_than_the_plain_one():
    torch.manual_seed(0)
    block = TransformerBlock(64, 2)
    values = torch.randn(4, 50, 64)
    with torch.inference_mode():
        exact = block(values)
        cast = TransformerBlock(64, 2).bfloat16()
        cast.load_state_dict(block.state_dict())
        if not can_be_packed(cast.mlp.fc1.weight):
            pytest.skip("no bf16 on this processor")
        plain = (cast(values.bfloat16()).float() - exact).norm()
        packed = (PackedBlock(cast)(values.bfloat16()).float() - exact).norm()
    assert packed < 1.1 * plain


@needs_packing
@pytest.mark.parametrize("fused", [True, False])
def test_a_packed_block_equals_the_plain_one(fused):
    torch.manual_seed(0)
    blocks = nn.ModuleList([TransformerBlock(48, 3), TransformerBlock(48, 3).double()])
    double = blocks[1]
    for parameter in blocks[0].parameters():  # a new block's norms are the same
        nn.init.normal_(parameter, 0.1, 0.3)
    blocks[0].attn.fused = fused
    tokens = torch.randn(3, 7, 48)
    with torch.inference_mode():
        plain, (marked, attention) = blocks[0](tokens), blocks[0].with_attention(tokens)
        pack_blocks(blocks)
        assert isinstance(blocks[0], PackedBlock) and blocks[1] is double
        torch.testing.assert_close(blocks[0](tokens), plain, rtol=1e-5, atol=1e-5)
        found, own = blocks[0].with_attention(tokens)
    torch.testing.assert_close(found, marked, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own, attention)


@needs_packing
def test_the_reading_path_is_packed_and_the_model_is_not():
    model = create_model("mgp_str_mini_stem8x8_3_32_128").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = reading_path(model, dict.fromkeys(model.config.granularities, -1))
    kinds = {type(module) for module in path.modules()}
    assert {PackedBlock, PackedClasses} <= kinds
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    cast = reading_path(model, dict.fromkeys(model.config.granularities, -1), torch.bfloat16)
    if can_be_packed(torch.zeros(1, dtype=torch.bfloat16)):
        assert {PackedBlock, PackedClasses} <= {type(module) for module in cast.modules()}
    exact = reading_path(model, dict.fromkeys(model.config.granularities, -1), torch.float64)
    assert not any(isinstance(module, PackedLinear) for module in exact.modules())
