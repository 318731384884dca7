"""ImageNet weights: only when asked for, and a clear word where they can't be had."""

import pytest
import torch

from models import create_model
from models.pretrained import SOURCES, load_imagenet_weights

TINY = "mgp_str_tiny_patch4_3_32_128"


def test_nothing_is_downloaded_unless_asked(monkeypatch):
    monkeypatch.setattr("timm.create_model", None)
    create_model(TINY)


def test_weights_that_cannot_be_had_are_said(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(RuntimeError, match=r"deit_tiny.* can't be had .*no route.*cache"):
        create_model(TINY, pretrained=True)


def test_blocks_and_class_token_are_taken(monkeypatch):
    import timm

    real = timm.create_model
    made = {}

    def without_network(name, pretrained):
        assert pretrained
        made["source"] = real(name.split(".")[0], pretrained=False)
        return made["source"]

    monkeypatch.setattr("timm.create_model", without_network)
    model = create_model(TINY)
    positions = model.pos_embed.clone()
    taken = load_imagenet_weights(model)
    source = made["source"].state_dict()
    assert {"cls_token", "blocks.0.attn.qkv.weight", "blocks.11.mlp.fc2.bias"} <= set(taken)
    for name in taken:
        assert torch.equal(model.state_dict()[name], source[name])
    assert torch.equal(model.pos_embed, positions)
    assert not any("patch_embed" in name or "head" in name for name in taken)


def test_a_width_without_weights_is_refused(monkeypatch):
    monkeypatch.setitem(SOURCES, 192, SOURCES.pop(192))
    monkeypatch.delitem(SOURCES, 192)
    with pytest.raises(RuntimeError, match="no ImageNet weights for an encoder of width 192"):
        load_imagenet_weights(create_model(TINY))
