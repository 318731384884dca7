"""Weights of ACDS-STR and its kin: own and official files, other sizes, other models."""

import gc

import pytest
import torch

from models import create_model, preset_config
from models.adapt import load_adapted
from models.checkpoint import CheckpointError, load_checkpoint, load_model, save_checkpoint
from text import CHARSET_PRESETS

pytestmark = pytest.mark.usefixtures("one_thread")

MGP_TINY = "mgp_str_tiny_patch4_3_32_128"


def test_own_checkpoint_of_a_head_on_plain_mgp_comes_back(small_acds, tmp_path):
    model = small_acds.small_model(
        MGP_TINY, depth=2, granularities=("char",), core_area_head=True
    ).eval()
    save_checkpoint(tmp_path / "m.pth", model)
    loaded = load_model(tmp_path / "m.pth")
    assert loaded.config.core_area_head is True
    images, _ = small_acds.batch_for(model.config)
    with torch.no_grad():
        assert torch.equal(loaded(images).core_area, model(images).core_area)


@pytest.mark.parametrize("prefix", ["module.acds_str.", "acds_str.", "module.", ""])
def test_official_weights_of_small_are_recognised(tmp_path, prefix):
    with torch.device("meta"):
        shapes = {
            k: (v.shape, v.dtype) for k, v in create_model("acds_str_small").state_dict().items()
        }
    # Views of one number: the file holds that number once a tensor, and memory nothing.
    state = {
        prefix + k: torch.full((), 0.01 if t.is_floating_point else 3, dtype=t).expand(s)
        for k, (s, t) in shapes.items()
    }
    torch.save(state, tmp_path / "official.pth")
    checkpoint = load_checkpoint(tmp_path / "official.pth")
    assert checkpoint.source == "official"
    assert checkpoint.config == preset_config("acds_str_small")
    if prefix != "module.acds_str.":
        return
    loaded = load_model(tmp_path / "official.pth")
    assert loaded.config.name == "acds_str_small"
    assert loaded.state_dict().keys() == shapes.keys()
    del state[prefix + "gated"]
    torch.save(state, tmp_path / "official.pth")
    with pytest.raises(CheckpointError, match=r"1 missing \(gated\)"):
        load_model(tmp_path / "official.pth")
    del loaded, state
    gc.collect()


def test_official_weights_of_other_sizes_say_them(tmp_path):
    with torch.device("meta"):
        changes = {"characters": CHARSET_PRESETS["94"], "max_length": 12, "channels": 1}
        shapes = create_model("acds_str_base", **changes).state_dict()
    state = {k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in shapes.items()}
    torch.save(state, tmp_path / "official.pth")
    config = load_checkpoint(tmp_path / "official.pth").config
    assert config == preset_config("acds_str_base", **changes)


ATD_ROWS = (
    "char_tokenLearner.tokenLearner2.1.weight",
    "char_tokenLearner.norm_1.weight",
    "char_tokenLearner.norm_1.bias",
)


@pytest.mark.parametrize("charset", ["94", "62", "zyx0A"])
def test_rows_of_the_atd_move_by_character(small_acds, charset):
    source = small_acds.small_model("acds_str_tiny")
    with torch.no_grad():
        for name in ("weight", "bias"):  # ones and zeros would look alike
            getattr(source.char_tokenLearner.norm_1, name).normal_()
    characters = CHARSET_PRESETS.get(charset, charset)
    target = small_acds.small_model("acds_str_tiny", seed=5, characters=characters)
    fresh = {k: v.clone() for k, v in target.state_dict().items()}
    report = load_adapted(target, source.config, source.state_dict())
    assert report.initialised == () and report.left_out == ()
    given, result = source.state_dict(), target.state_dict()
    for name in ATD_ROWS:
        assert torch.equal(result[name][:2], given[name][:2])
        for row, character in enumerate(characters, start=2):
            if character in source.config.characters:
                old = 2 + source.config.characters.index(character)
                assert torch.equal(result[name][row], given[name][old]), (name, character)
            else:
                assert torch.equal(result[name][row], fresh[name][row]), (name, character)
    shared = len(set(characters) & set(source.config.characters))
    assert f"{ATD_ROWS[0]}: {shared} of {len(characters)} characters taken over" in str(report)
    # All else is as it was.
    for name in given.keys() - {n for n in given if n.startswith((*ATD_ROWS, "head", "char_head"))}:
        assert torch.equal(result[name], given[name]), name


def test_label_positions_of_the_atd_move_by_index(small_acds):
    source = small_acds.small_model("acds_str_tiny", max_length=10)
    target = small_acds.small_model("acds_str_tiny", seed=5, max_length=15)
    name = "char_tokenLearner.tokenLearner1.1.weight"
    fresh = target.state_dict()[name].clone()
    load_adapted(target, source.config, source.state_dict())
    result = target.state_dict()[name]
    assert torch.equal(result[:12], source.state_dict()[name])
    assert torch.equal(result[12:], fresh[12:])


def test_another_image_size_starts_the_token_weights_anew(small_acds):
    source = small_acds.small_model("acds_str_tiny")
    target = small_acds.small_model("acds_str_tiny", seed=5, image_height=48, image_width=160)
    report = load_adapted(target, source.config, source.state_dict())
    assert set(report.initialised) == {
        "char_tokenLearner.tokenLearner1.0.weight",
        "char_tokenLearner.tokenLearner1.1.weight",
    }
    assert "pos_embed: interpolated from 4x16 to 6x20" in str(report)
    with torch.inference_mode():
        assert target.eval()(torch.rand(1, 3, 48, 160)).char.shape == (1, 27, 38)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_a_core_area_map_of_another_form_is_told(small_acds, form):
    source = small_acds.small_model("acds_str_tiny")
    target = small_acds.small_model("acds_str_tiny", core_area_form=form)
    told = str(load_adapted(target, source.config, source.state_dict()))
    assert ("was learned in the linear form" in told) == (form == "sigmoid")


def test_from_mgp_to_acds_what_matches_is_kept(small_acds):
    encoder = {"width": 48, "depth": 3, "num_heads": 3}
    source = small_acds.small_model(MGP_TINY, **encoder)
    for name, same_heads in (("acds_mgp_str_tiny", True), ("acds_str_tiny", False)):
        patches = {"patch_height": 4, "patch_width": 4}
        target = small_acds.small_model(name, seed=5, **encoder, **patches, guided_blocks=2)
        fresh = {k: v.clone() for k, v in target.state_dict().items()}
        report = load_adapted(target, source.config, source.state_dict())
        given, result = source.state_dict(), target.state_dict()
        for key in result:
            assert torch.equal(result[key], given[key] if key in given else fresh[key]), key
        assert {"cls_token", "pos_embed", "blocks.2.mlp.fc2.weight"} <= given.keys()
        assert ("bpe_head.weight" in report.left_out) == (not same_heads)
        assert ("char_tokenLearner.feat.weight" in report.left_out) == (not same_heads)
        assert {"conv1.weight", "gated", "conv_class"} <= set(report.initialised)


def test_from_acds_to_acds_mgp_the_encoder_is_kept(small_acds):
    source, target = (
        small_acds.small_model("acds_str_tiny"),
        small_acds.small_model("acds_mgp_str_tiny", seed=5),
    )
    report = load_adapted(target, source.config, source.state_dict())
    given, result = source.state_dict(), target.state_dict()
    assert torch.equal(
        result["cnnBackbone.layer3.0.conv2.weight"], given["cnnBackbone.layer3.0.conv2.weight"]
    )
    assert torch.equal(result["gated"], given["gated"])
    assert not any(n.startswith(("cnnBackbone", "blocks", "conv")) for n in report.initialised)
