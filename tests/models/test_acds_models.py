"""ACDS-STR and its kin: all sizes are configuration, all that is trained is reached."""

import pytest
import torch
import torch.nn.functional as F

from engine.flops import count_flops
from models import create_model, preset_config
from models.checkpoint import load_model, save_checkpoint
from text import CHARSET_PRESETS

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("acds_str_tiny", "acds_mgp_str_tiny")


SIZES = {
    "the preset": {
        name: getattr(preset_config("acds_str_tiny"), name)
        for name in ("width", "extractor_stem", "extractor_widths")
    },
    "smaller": {},
    "62 characters": {"characters": CHARSET_PRESETS["62"]},
    "94 characters": {"characters": CHARSET_PRESETS["94"]},
    "short labels": {"max_length": 10},
    "larger images": {"image_height": 48, "image_width": 160},
    "grey": {"channels": 1},
    "flat patches": {"patch_height": 4, "patch_width": 8},
    "odd grid": {"patch_height": 4, "patch_width": 4, "image_height": 36, "image_width": 100},
    "another extractor": {
        "extractor_stem": 8,
        "extractor_widths": (8, 24, 16, 40, 56),
        "extractor_blocks": (2, 1, 1, 3, 2),
    },
    "no CAFM": {"guided_blocks": 0},
    "CAFM of one block": {"guided_blocks": 1},
    "CAFM of all blocks": {"guided_blocks": 4},
    "one block": {"depth": 1, "guided_blocks": 1},
    "sigmoid": {"core_area_form": "sigmoid"},
    "another width": {"width": 64, "num_heads": 2},
    "all at once": {
        "characters": CHARSET_PRESETS["94"],
        "max_length": 7,
        "image_height": 48,
        "image_width": 96,
        "channels": 1,
        "patch_height": 4,
        "width": 48,
        "depth": 3,
        "guided_blocks": 2,
    },
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", SIZES.values(), ids=SIZES)
def test_every_size_is_configuration(small_acds, name, changes):
    model = small_acds.small_model(name, **changes)
    config = model.config
    model.learn_core_areas(True)
    losses = small_acds.losses_of(model)
    expected = {f"{g}_loss" for g in config.granularities} | {"core_area_loss"}
    expected |= {"guidance_loss"} if name == "acds_mgp_str_tiny" else set()
    assert losses.keys() == expected
    assert losses["char_loss"].count == 2 * config.positions
    assert losses["core_area_loss"].count == 2 * config.image_height * config.image_width
    sum(loss.mean for loss in losses.values()).backward()
    assert small_acds.unreached(model) == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    images, _ = small_acds.batch_for(config)
    with torch.inference_mode():
        outputs = model.eval()(images)
    tokens = 1 + config.grid_size[0] * config.grid_size[1]
    assert outputs.char.shape == (2, config.positions, len(config.characters) + 2)
    assert outputs.core_area.shape == (2, 1, config.image_height, config.image_width)
    attention = outputs.attention["char"]
    assert attention.shape == (2, config.positions, tokens)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, config.positions))
    if config.guided_blocks:
        assert outputs.guided_attention.shape == (2, tokens, tokens)
    else:
        assert outputs.guided_attention is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guided_blocks", [0, 1, 3, 4])
def test_without_core_areas_everything_trained_is_reached(small_acds, name, guided_blocks):
    model = small_acds.small_model(name, guided_blocks=guided_blocks)
    model.learn_core_areas(False)
    losses = small_acds.losses_of(model, core_area=None, has_core_area=None)
    assert "core_area_loss" not in losses and "guidance_loss" not in losses
    sum(loss.mean for loss in losses.values()).backward()
    assert small_acds.unreached(model) == []
    # CAFM still needs its map; nothing else does.
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert ("conv_fpn.0.weight" in trained) == (guided_blocks > 0)
    assert ("cnnBackbone.smooth.0.0.weight" in trained) == (guided_blocks > 0)
    assert ("norm.weight" in trained) == (guided_blocks > 0)
    assert "cnnBackbone.layer5.0.conv1.weight" in trained
    # Guided by A3 attention alone, the map is drawn and not learned.
    model.zero_grad(set_to_none=True)
    sum(loss.mean for loss in small_acds.losses_of(model).values()).backward()
    assert small_acds.unreached(model) == []


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
@pytest.mark.parametrize("guided_blocks", [0, 3])
def test_a_batch_without_boxes_reaches_everything_with_zero(small_acds, guided_blocks, form):
    model = small_acds.small_model(
        "acds_mgp_str_tiny", guided_blocks=guided_blocks, core_area_form=form
    )
    losses = small_acds.losses_of(model, has_core_area=torch.zeros(2, dtype=torch.bool))
    for name in ("core_area_loss", "guidance_loss"):
        assert (losses[name].total.item(), losses[name].count.item()) == (0, 0)
    (losses["core_area_loss"].mean + losses["guidance_loss"].mean).backward(retain_graph=True)
    drawing = [p for n, p in model.named_parameters() if n.startswith(("conv_fpn", "cnnBackbone"))]
    assert all(p.grad is not None for p in model.conv_fpn.parameters())
    assert not any(p.grad.any() for p in drawing if p.grad is not None)
    char = model.char_tokenLearner.tokenLearner[1].weight
    assert char.grad is not None and not char.grad.any()
    losses["char_loss"].mean.backward(retain_graph=True)
    # With CAFM the reading itself teaches the map.
    assert bool(model.conv_fpn[1].weight.grad.any()) == (guided_blocks > 0)
    sum(losses[f"{g}_loss"].mean for g in ("bpe", "wp")).backward()
    assert small_acds.unreached(model) == []


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_core_areas_teach_what_draws_them(small_acds, form):
    model = small_acds.small_model("acds_str_tiny", core_area_form=form, guided_blocks=0)
    small_acds.losses_of(model)["core_area_loss"].mean.backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    for part in ("conv_fpn.1", "conv_fpn.0", "cnnBackbone.smooth.0.0", "cnnBackbone.layer1.0"):
        assert any(n.startswith(part) for n in trained), part
    assert not any(n.startswith(("blocks", "char", "conv1", "cnnBackbone.layer5")) for n in trained)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_the_loss_is_of_the_map_that_is_shown(small_acds, form):
    model = small_acds.small_model("acds_str_tiny", core_area_form=form).eval()
    images, targets = small_acds.batch_for(model.config)
    with torch.no_grad():
        shown = model(images).core_area
        loss = model(images, targets)["core_area_loss"].mean
    inside = (targets["core_area"] > 0).float()
    if form == "sigmoid":
        assert (shown > 0).all() and (shown < 1).all()
    values = shown if form == "sigmoid" else shown.clamp(0.01, 0.99)
    plain = F.binary_cross_entropy(values, inside, weight=1 + inside)
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_freezing_stops_the_guided_part_and_nothing_else(small_acds, name):
    model = small_acds.small_model(name)
    before = {n for n, p in model.named_parameters() if p.requires_grad}
    model.freeze_guided_part()
    stopped = before - {n for n, p in model.named_parameters() if p.requires_grad}
    parts = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.", "smooth.")
    expected = {n for n in before if n.startswith(tuple(f"cnnBackbone.{p}" for p in parts))}
    assert stopped == expected
    assert len({n.split(".")[1] for n in stopped}) == len(parts)
    sum(loss.mean for loss in small_acds.losses_of(model).values()).backward()
    assert small_acds.unreached(model) == []
    assert all(p.grad is None for n, p in model.named_parameters() if n in stopped)
    assert model.cnnBackbone.bn1.num_batches_tracked == 1  # statistics go on


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_an_encoder_is_the_same_with_other_heads(size):
    with torch.device("meta"):
        own, other = create_model(f"acds_mgp_str_{size}"), create_model(f"acds_str_{size}")
    assert own.config.granularities == ("char", "bpe", "wp")
    encoders = [
        {
            name: value.shape
            for name, value in model.state_dict().items()
            if not name.startswith(("head", "patch_embed", "char_", "bpe_", "wp_"))
        }
        for model in (own, other)
    ]
    assert encoders[0] == encoders[1]
    assert len(encoders[0]) > 100


def test_the_tiny_model_is_cheap():
    model = create_model("acds_str_tiny").eval()
    assert (model.config.width, model.config.depth) == (192, 4)
    assert 5e7 < count_flops(model, torch.zeros(1, 3, 32, 128)) <= 2e9


@pytest.mark.parametrize("name", NAMES)
def test_the_map_is_not_drawn_where_nobody_wants_it(small_acds, name):
    model = small_acds.small_model(name, guided_blocks=0)
    model.cnnBackbone.pyramid = None  # any use of it would end in an error
    small_acds.losses_of(model, core_area=None, has_core_area=None)
    with pytest.raises(TypeError):
        small_acds.losses_of(model)


def test_guidance_changes_what_is_read(small_acds):
    model = small_acds.small_model("acds_str_tiny").eval()
    images, _ = small_acds.batch_for(model.config)
    with torch.no_grad():
        before = model(images)
        model.conv_fpn[1].weight.mul_(50)
        after = model(images)
    assert not torch.allclose(before.char, after.char, atol=1e-5)
    assert not torch.equal(before.guided_attention, after.guided_attention)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changes", [{}, SIZES["all at once"], {"guided_blocks": 0, "core_area_form": "sigmoid"}]
)
def test_own_checkpoints_come_back(small_acds, tmp_path, name, changes):
    model = small_acds.small_model(name, **changes)
    small_acds.losses_of(model)  # so that the running statistics are not the first ones
    save_checkpoint(tmp_path / "m.pth", model.eval(), iteration=3)
    loaded = load_model(tmp_path / "m.pth")
    assert loaded.config == model.config
    assert isinstance(loaded.config.extractor_widths, tuple)
    images, _ = small_acds.batch_for(model.config)
    with torch.no_grad():
        one, other = model(images), loaded(images)
    assert torch.equal(one.char, other.char) and torch.equal(one.core_area, other.core_area)
