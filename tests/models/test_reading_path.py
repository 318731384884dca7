"""The fast path reads what the plain one reads, at every position."""

import copy
import pickle

import pytest
import torch
from torch import nn

from engine.flops import count_flops, flop_counter
from models import create_model
from models.outputs import Outputs
from models.reading_path import ReadingPath, has_amx, reading_path
from modules.folding import FoldedMap
from modules.transformer_block import Attention

MGP = "mgp_str_tiny_patch4_3_32_128"
CHANGES = [
    {},
    {"core_area_form": "sigmoid"},
    {"guided_blocks": 0},
    {"patch_width": 4},
    {"channels": 1},
]
MODELS = {
    "acds_str_tiny": {},
    "acds_mgp_str_tiny": {"granularities": ("char",)},
    MGP: {"depth": 2},
}


def trained_like(name: str, **changes):
    """A model whose norms, gates and statistics are not those of a fresh one."""
    torch.manual_seed(4)
    model = create_model(name, **changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        for key, value in model.named_buffers():
            if key.endswith("running_mean"):
                value.normal_(std=0.2)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 2)
    return model


def read_whole(model, images, dtype=torch.float32):
    """Ids and probabilities of the fast path, [B, T - 1] each, after start and as if none stopped.

    By granularity, as `Outputs.greedy` gives them.
    """
    path = reading_path(model, dict.fromkeys(model.config.granularities, -1), dtype)
    with torch.inference_mode():
        return tuple({name: v[:, 1:] for name, v in own.items()} for own in path(images))


def plainly(outputs):
    return tuple({name: v[:, 1:] for name, v in own.items()} for own in outputs.greedy())


def assert_same(found, expected, **tolerance):
    for own, other in zip(found, expected, strict=True):
        assert own.keys() == other.keys()
        for name in own:
            torch.testing.assert_close(own[name], other[name], **tolerance)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, changes) for name in MODELS if name.startswith("acds") for changes in CHANGES),
        *((MGP, changes) for changes in ({}, {"image_width": 96}, {"channels": 1})),
    ],
)
def test_readings_are_the_plain_ones(name, changes, monkeypatch):
    monkeypatch.setattr(ReadingPath, "images_at_once", lambda *_: 2)
    model = trained_like(name, **MODELS[name], **changes).double()
    images = torch.rand(3, model.config.channels, 32, model.config.image_width).double()
    with torch.inference_mode():
        plain = plainly(model(images))
    assert_same(read_whole(model, images, torch.float64), plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *(("acds_str_tiny", changes) for changes in CHANGES),
        ("acds_mgp_str_tiny", {"bpe_classes": 50, "wp_classes": 60}),
        (MGP, {"depth": 2}),
        (MGP, {"depth": 2, "core_area_head": True}),
    ],
)
def test_maps_are_the_plain_ones(name, changes):
    model = trained_like(name, **changes).double()
    images = torch.rand(3, model.config.channels, 32, 128).double()
    path = reading_path(model, dict.fromkeys(model.config.granularities, -1), torch.float64)
    with torch.inference_mode():
        expected, (read, found) = model(images), path.with_maps(images)
        assert_same(read, path(images), rtol=1e-9, atol=1e-9)
    assert found.char is None
    assert_same([found.attention], [expected.attention], rtol=1e-9, atol=1e-9)
    for own in ("core_area", "guided_attention"):
        if getattr(expected, own) is None:
            assert getattr(found, own) is None
        else:
            torch.testing.assert_close(
                getattr(found, own), getattr(expected, own), rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *MODELS.items(),
        ("acds_mgp_str_tiny", {"granularities": ("char",), "guided_blocks": 0}),
        ("mgp_str_mini_stem8x8_3_32_128", {"depth": 1, "core_area_head": True}),
        ("char_str_base_patch4_3_32_128", {"depth": 1}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_can_be_used_up(name, changes, dtype):
    model = trained_like(name, **changes)
    images = torch.rand(2, 3, 32, 128)
    stop_ids = dict.fromkeys(model.config.granularities, -1)
    with torch.inference_mode():
        expected, expected_maps = reading_path(model, stop_ids, dtype).with_maps(images)
        path = reading_path(model, stop_ids, dtype, use_up=True)
        read, maps = path.with_maps(images)
        assert_same(read, expected, rtol=0, atol=0)
        assert_same([maps.attention], [expected_maps.attention], rtol=0, atol=0)
        if expected_maps.core_area is not None:
            assert torch.equal(maps.core_area, expected_maps.core_area)
        assert_same(copy.deepcopy(path).with_maps(images)[0], expected, rtol=0, atol=0)
        assert_same(pickle.loads(pickle.dumps(path)).with_maps(images)[0], expected, rtol=0, atol=0)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert not any(tensor.is_meta for tensor in path.state_dict().values())


def test_official_shapes_with_the_formula_weights(reference, fixtures):
    model = reference.load_reference(create_model("acds_str_small")).eval()
    images = torch.from_numpy(reference.reference_input())
    expected = Outputs(char=torch.from_numpy(fixtures("acds_small.npz")["char_logits"]))
    assert_same(read_whole(model, images), plainly(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "dtype", "images"),
    [
        ("acds_str_small", torch.bfloat16, 8),
        ("mgp_str_base_patch4_3_32_128", torch.float32, 4),
        (MGP, torch.float32, 16),
        (MGP, torch.bfloat16, 32),
    ],
)
def test_as_many_images_go_together_as_a_cache_holds(name, dtype, images):
    with torch.device("meta"):
        config = create_model(name).config
    assert ReadingPath(config, dtype, {}).images_at_once(torch.device("cpu")) == images


def test_fused_attention_counts_as_many_operations_as_products():
    model = create_model(MGP, granularities=("char",))
    counted = []
    for fused in (False, True):
        model.fuse_attention(fused)
        with flop_counter() as counter:
            model(torch.rand(2, 3, 32, 128)).char.sum().backward()
        forward = count_flops(model, torch.rand(2, 3, 32, 128))
        counted.append((forward, counter.get_total_flops()))
    # In its backward pass the fused kernel makes the weights once more: one product in five.
    (plain, trained), (fused, fused_trained) = counted
    assert fused == plain and trained < fused_trained < 1.1 * trained


@pytest.mark.parametrize("amx", [True, False])
def test_matrix_units_are_known_to_every_torch(amx, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert has_amx() == amx
    known = {"amx_bf16": amx} if amx else {}  # other processors' have other names
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert has_amx() == amx


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("name", ["acds_str_tiny", MGP])
def test_with_or_without_matrix_units_it_rounds_as_little_as_the_plain_one(name, amx, monkeypatch):
    monkeypatch.setattr("models.reading_path.has_amx", lambda: amx)
    model = trained_like(name, **MODELS[name])
    images = torch.rand(4, 3, 32, 128)
    path = reading_path(model, dict.fromkeys(model.config.granularities, -1), torch.bfloat16)
    fused = {module.fused for module in path.modules() if isinstance(module, Attention)}
    assert fused == {amx}
    with torch.inference_mode():
        exact = model.encode(images).tokens
        plain = copy.deepcopy(model).bfloat16().encode(images.bfloat16()).tokens
        assert (path.tokens(images) - exact).norm() < 1.1 * (plain - exact).norm()


def test_norms_are_folded_and_the_whole_map_is_drawn_on_request_only(monkeypatch):
    model = trained_like("acds_str_tiny")
    path = reading_path(model, {"char": -1})
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in path.modules())
    images = torch.rand(1, 3, 32, 128)
    with torch.inference_mode():
        assert count_flops(path, images) < count_flops(model, images)
        monkeypatch.setattr(FoldedMap, "whole", None)  # any use of it would end in an error
        path(images)
        with pytest.raises(TypeError):
            path.with_maps(images)


@pytest.mark.parametrize("name", MODELS)
def test_the_model_itself_stays_as_it_was(name):
    model = trained_like(name, **MODELS[name])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(2, 3, 32, 128)
    with torch.inference_mode():
        expected = model(images)
        read_whole(model, images, torch.bfloat16)
        again = model(images)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(again.char, expected.char)


@pytest.mark.parametrize("name", MODELS)
def test_bf16_is_near(name):
    model = trained_like(name, **MODELS[name])
    images = torch.rand(4, 3, 32, 128)
    with torch.inference_mode():
        _, plain = plainly(model(images))
    _, rounded = read_whole(model, images, torch.bfloat16)
    assert 0 < (plain["char"] - rounded["char"]).abs().max() < 0.1
