"""The transformer block equals timm's, which the reference builds on."""

from functools import partial

import pytest
import torch
from timm.layers import DropPath
from timm.models.vision_transformer import Block
from torch import nn

from modules import attend
from modules.transformer_block import TransformerBlock

WIDTH, HEADS = 48, 3


def both_blocks():
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, eps=1e-6)
    timms = Block(WIDTH, HEADS, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm).double()
    own = TransformerBlock(WIDTH, HEADS).double()
    own.load_state_dict(timms.state_dict())
    return timms, own


def outcome(block, tokens, run=None):
    """Output, and the gradients of its squares by name."""
    torch.manual_seed(1)
    result = (run or block)(tokens)
    block.zero_grad()
    result.square().sum().backward()
    return [result, *(weight.grad for _, weight in sorted(block.named_parameters()))]


FORMS = {"fused": (True, False), "plain": (False, False), "by hand": (False, True)}


@pytest.mark.parametrize(("fused", "by_hand"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("recomputes", [True, False])
@pytest.mark.parametrize("dropped", [0.0, 0.5])
def test_output_and_gradients_equal(fused, by_hand, recomputes, dropped, monkeypatch):
    monkeypatch.setattr(attend, "CHUNK_WEIGHTS", 4 * HEADS * 5 * 5)  # 4 of 6 images, then 2
    timms, own = both_blocks()
    own.attn.fused, own.attn.by_hand, own.recomputes = fused, by_hand, recomputes
    timms.drop_path1, timms.drop_path2 = DropPath(dropped), DropPath(dropped)
    own.drop_path1.probability = own.drop_path2.probability = dropped
    tokens = torch.randn(6, 5, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(outcome(own, tokens), outcome(timms, tokens))


def test_attention_comes_with_the_same_output():
    timms, own = both_blocks()
    tokens = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    found = outcome(own, tokens, lambda given: own.with_attention(given)[0])
    torch.testing.assert_close(found, outcome(timms, tokens))
    attention = own.with_attention(tokens)[1]
    assert attention.shape == (2, 5, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 5, dtype=torch.float64))


@pytest.mark.parametrize("recomputes", [True, False])
def test_the_mean_attention_is_learned_from_as_from_the_formula(recomputes, monkeypatch):
    monkeypatch.setattr(attend, "CHUNK_WEIGHTS", 2 * HEADS * 5 * 5)  # 2 of 3 images, then 1
    _, own = both_blocks()
    tokens = torch.randn(3, 5, WIDTH, dtype=torch.float64)

    def run(given):
        output, attention = own.with_attention(given)
        return output * (attention.exp() @ given)

    wanted = outcome(own, tokens, run)
    own.attn.by_hand, own.recomputes = True, recomputes
    torch.testing.assert_close(outcome(own, tokens, run), wanted)


def test_new_weights_are_drawn_as_by_timm():
    torch.manual_seed(0)
    timms = Block(WIDTH, HEADS, qkv_bias=True).state_dict()
    torch.manual_seed(0)
    own = TransformerBlock(WIDTH, HEADS).state_dict()
    assert list(own) == list(timms)
    assert all(torch.equal(own[name], timms[name]) for name in own)


# Exponents of weights: usual ones, some that overflow, some that underflow, and none.
QUERIES = {"usual": (2.0, 6), "huge": (200.0, 6), "tiny": (-200.0, 6), "no images": (1.0, 0)}


@pytest.mark.parametrize(("factor", "images"), QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_attention_without_a_gradient_equals_the_other(factor, images, dtype, monkeypatch):
    torch.manual_seed(0)
    qkv = torch.rand(images, 5, 3, 2, 8, dtype=dtype) + 0.5
    qkv[:, :, 0] *= factor
    plain = []
    monkeypatch.setattr(attend, "_weights", spied(attend._weights, plain))
    found = attend.attend_without_gradient(qkv, 0.4)
    assert len(plain) == (abs(factor) > 100)  # the softmax is taken where powers would fail
    torch.testing.assert_close(found, attend.attend(qkv, 0.4)[0])


def spied(function, calls):
    def call(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return call


def test_in_bf16_it_rounds_little_more_than_the_plain_one():
    torch.manual_seed(0)
    qkv = torch.randn(8, 65, 3, 3, 64)
    exact = attend.attend(qkv, 0.125)[0]
    errors = [
        (own(qkv.bfloat16(), 0.125).float() - exact).norm()
        for own in (attend.attend_without_gradient, lambda *given: attend.attend(*given)[0])
    ]
    assert 0 < errors[0] < 1.25 * errors[1]


def test_a_block_by_hand_reads_as_it_learns():
    _, own = both_blocks()
    own.attn.fused, own.attn.by_hand = False, True
    tokens = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    with torch.inference_mode():
        read = own(tokens)
    torch.testing.assert_close(read, own(tokens))
