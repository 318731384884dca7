"""ACDS-STR and its kin: all sizes are configuration, all that is trained is reached."""

import gc

import pytest
import torch
import torch.nn.functional as F

from engine.flops import count_flops
from models import create_model, preset_config
from models.adapt import load_adapted
from models.checkpoint import CheckpointError, load_checkpoint, load_model, save_checkpoint
from modules.core_area import CoreAreaHead
from text import CHARSET_PRESETS

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("acds_str_tiny", "acds_mgp_str_tiny")
MGP_TINY = "mgp_str_tiny_patch4_3_32_128"
# Small subword heads, encoders and extractors: what these tests are about does not need them.
FEW = {"bpe_classes": 50, "wp_classes": 60, "width": 48}
LIGHT = {**FEW, "extractor_stem": 8, "extractor_widths": (8, 8, 16, 16, 32)}


def small_model(name: str, seed: int = 0, **changes):
    torch.manual_seed(seed)
    usual = LIGHT if name in NAMES else FEW
    return create_model(name, **{**usual, **changes}).train()


def batch_for(config, size: int = 2, seed: int = 1):
    """Random images, labels of all classes, and two characters' core areas."""
    random = torch.Generator().manual_seed(seed)
    shape = (config.image_height, config.image_width)
    images = torch.rand(size, config.channels, *shape, generator=random)
    targets = {
        name: torch.randint(1, config.num_classes(name), (size, config.positions), generator=random)
        for name in config.granularities
    }
    core_area = torch.zeros(size, 1, *shape, dtype=torch.uint8)
    core_area[:, :, 8:20, 8:30], core_area[:, :, 10:22, 40:60] = 1, 2
    targets |= {"core_area": core_area, "has_core_area": torch.ones(size, dtype=torch.bool)}
    return images, targets


def losses_of(model, **changes):
    images, targets = batch_for(model.config)
    targets = {k: v for k, v in (targets | changes).items() if v is not None}
    return model(images, targets)


def unreached(model) -> list[str]:
    """Trainable parameters without a gradient, for which DDP would wait for ever."""
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


SIZES = {
    "the preset": {n: preset_config("acds_str_tiny").__dict__[n] for n in LIGHT}
    | FEW
    | {"width": 192},
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
def test_every_size_is_configuration(name, changes):
    model = small_model(name, **changes)
    config = model.config
    model.learn_core_areas(True)
    losses = losses_of(model)
    expected = {f"{g}_loss" for g in config.granularities} | {"core_area_loss"}
    expected |= {"guidance_loss"} if name == "acds_mgp_str_tiny" else set()
    assert losses.keys() == expected
    assert losses["char_loss"].count == 2 * config.positions
    assert losses["core_area_loss"].count == 2 * config.image_height * config.image_width
    sum(loss.mean for loss in losses.values()).backward()
    assert unreached(model) == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    images, _ = batch_for(config)
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
def test_without_core_areas_everything_trained_is_reached(name, guided_blocks):
    model = small_model(name, guided_blocks=guided_blocks)
    model.learn_core_areas(False)
    losses = losses_of(model, core_area=None, has_core_area=None)
    assert "core_area_loss" not in losses and "guidance_loss" not in losses
    sum(loss.mean for loss in losses.values()).backward()
    assert unreached(model) == []
    # CAFM still needs its map; nothing else does.
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert ("conv_fpn.0.weight" in trained) == (guided_blocks > 0)
    assert ("cnnBackbone.smooth.0.0.weight" in trained) == (guided_blocks > 0)
    assert ("norm.weight" in trained) == (guided_blocks > 0)
    assert "cnnBackbone.layer5.0.conv1.weight" in trained
    # Guided by A3 attention alone, the map is drawn and not learned.
    model.zero_grad(set_to_none=True)
    sum(loss.mean for loss in losses_of(model).values()).backward()
    assert unreached(model) == []


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
@pytest.mark.parametrize("guided_blocks", [0, 3])
def test_a_batch_without_boxes_reaches_everything_with_zero(guided_blocks, form):
    model = small_model("acds_mgp_str_tiny", guided_blocks=guided_blocks, core_area_form=form)
    losses = losses_of(model, has_core_area=torch.zeros(2, dtype=torch.bool))
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
    assert unreached(model) == []


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_core_areas_teach_what_draws_them(form):
    model = small_model("acds_str_tiny", core_area_form=form, guided_blocks=0)
    losses_of(model)["core_area_loss"].mean.backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    for part in ("conv_fpn.1", "conv_fpn.0", "cnnBackbone.smooth.0.0", "cnnBackbone.layer1.0"):
        assert any(n.startswith(part) for n in trained), part
    assert not any(n.startswith(("blocks", "char", "conv1", "cnnBackbone.layer5")) for n in trained)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_the_loss_is_of_the_map_that_is_shown(form):
    model = small_model("acds_str_tiny", core_area_form=form).eval()
    images, targets = batch_for(model.config)
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
def test_freezing_stops_the_guided_part_and_nothing_else(name):
    model = small_model(name)
    before = {n for n, p in model.named_parameters() if p.requires_grad}
    model.freeze_guided_part()
    stopped = before - {n for n, p in model.named_parameters() if p.requires_grad}
    parts = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.", "smooth.")
    expected = {n for n in before if n.startswith(tuple(f"cnnBackbone.{p}" for p in parts))}
    assert stopped == expected
    assert len({n.split(".")[1] for n in stopped}) == len(parts)
    sum(loss.mean for loss in losses_of(model).values()).backward()
    assert unreached(model) == []
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
def test_the_map_is_not_drawn_where_nobody_wants_it(name):
    model = small_model(name, guided_blocks=0)
    model.cnnBackbone.pyramid = None  # any use of it would end in an error
    losses_of(model, core_area=None, has_core_area=None)
    with pytest.raises(TypeError):
        losses_of(model)


def test_guidance_changes_what_is_read():
    model = small_model("acds_str_tiny").eval()
    images, _ = batch_for(model.config)
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
def test_own_checkpoints_come_back(tmp_path, name, changes):
    model = small_model(name, **changes)
    losses_of(model)  # so that the running statistics are not the first ones
    save_checkpoint(tmp_path / "m.pth", model.eval(), iteration=3)
    loaded = load_model(tmp_path / "m.pth")
    assert loaded.config == model.config
    assert isinstance(loaded.config.extractor_widths, tuple)
    images, _ = batch_for(model.config)
    with torch.no_grad():
        one, other = model(images), loaded(images)
    assert torch.equal(one.char, other.char) and torch.equal(one.core_area, other.core_area)


def test_own_checkpoint_of_a_head_on_plain_mgp_comes_back(tmp_path):
    model = small_model(MGP_TINY, depth=2, granularities=("char",), core_area_head=True).eval()
    save_checkpoint(tmp_path / "m.pth", model)
    loaded = load_model(tmp_path / "m.pth")
    assert loaded.config.core_area_head is True
    images, _ = batch_for(model.config)
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
def test_rows_of_the_atd_move_by_character(charset):
    source = small_model("acds_str_tiny")
    with torch.no_grad():
        for name in ("weight", "bias"):  # ones and zeros would look alike
            getattr(source.char_tokenLearner.norm_1, name).normal_()
    characters = CHARSET_PRESETS.get(charset, charset)
    target = small_model("acds_str_tiny", seed=5, characters=characters)
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


def test_label_positions_of_the_atd_move_by_index():
    source = small_model("acds_str_tiny", max_length=10)
    target = small_model("acds_str_tiny", seed=5, max_length=15)
    name = "char_tokenLearner.tokenLearner1.1.weight"
    fresh = target.state_dict()[name].clone()
    load_adapted(target, source.config, source.state_dict())
    result = target.state_dict()[name]
    assert torch.equal(result[:12], source.state_dict()[name])
    assert torch.equal(result[12:], fresh[12:])


def test_another_image_size_starts_the_token_weights_anew():
    source = small_model("acds_str_tiny")
    target = small_model("acds_str_tiny", seed=5, image_height=48, image_width=160)
    report = load_adapted(target, source.config, source.state_dict())
    assert set(report.initialised) == {
        "char_tokenLearner.tokenLearner1.0.weight",
        "char_tokenLearner.tokenLearner1.1.weight",
    }
    assert "pos_embed: interpolated from 32x128 to 48x160" in str(report)
    with torch.inference_mode():
        assert target.eval()(torch.rand(1, 3, 48, 160)).char.shape == (1, 27, 38)


def test_from_mgp_to_acds_what_matches_is_kept():
    encoder = {"width": 48, "depth": 3, "num_heads": 3}
    source = small_model(MGP_TINY, **encoder)
    for name, same_heads in (("acds_mgp_str_tiny", True), ("acds_str_tiny", False)):
        patches = {"patch_height": 4, "patch_width": 4}
        target = small_model(name, seed=5, **encoder, **patches, guided_blocks=2)
        fresh = {k: v.clone() for k, v in target.state_dict().items()}
        report = load_adapted(target, source.config, source.state_dict())
        given, result = source.state_dict(), target.state_dict()
        for key in result:
            assert torch.equal(result[key], given[key] if key in given else fresh[key]), key
        assert {"cls_token", "pos_embed", "blocks.2.mlp.fc2.weight"} <= given.keys()
        assert ("bpe_head.weight" in report.left_out) == (not same_heads)
        assert ("char_tokenLearner.feat.weight" in report.left_out) == (not same_heads)
        assert {"conv1.weight", "gated", "conv_class"} <= set(report.initialised)


def test_from_acds_to_acds_mgp_the_encoder_is_kept():
    source, target = small_model("acds_str_tiny"), small_model("acds_mgp_str_tiny", seed=5)
    report = load_adapted(target, source.config, source.state_dict())
    given, result = source.state_dict(), target.state_dict()
    assert torch.equal(
        result["cnnBackbone.layer3.0.conv2.weight"], given["cnnBackbone.layer3.0.conv2.weight"]
    )
    assert torch.equal(result["gated"], given["gated"])
    assert not any(n.startswith(("cnnBackbone", "blocks", "conv")) for n in report.initialised)


@pytest.mark.parametrize(("grid", "patch"), [((8, 32), (4, 4)), ((3, 5), (4, 8)), ((2, 2), (8, 4))])
def test_each_token_draws_its_own_patch(grid, patch):
    """Token i draws i, and its pixel (y, x) adds a hundredth of its place in the patch."""
    head = CoreAreaHead(3, grid, patch)
    pixels = patch[0] * patch[1]
    with torch.no_grad():
        head.proj.weight.zero_()
        head.proj.weight[:, 0] = 1
        head.proj.bias.copy_(torch.arange(pixels) / 100)
    tokens = torch.zeros(2, 1 + grid[0] * grid[1], 3)
    tokens[:, 0] = 1000  # the class token draws nothing
    tokens[0, 1:, 0] = torch.arange(grid[0] * grid[1])
    tokens[1, 1:, 0] = 5
    with torch.no_grad():
        drawn = head(tokens)
    assert drawn.shape == (2, 1, grid[0] * patch[0], grid[1] * patch[1])
    for y in range(drawn.shape[2]):
        for x in range(drawn.shape[3]):
            token = y // patch[0] * grid[1] + x // patch[1]
            place = y % patch[0] * patch[1] + x % patch[1]
            assert drawn[0, 0, y, x].item() == pytest.approx(token + place / 100, abs=1e-3)
    assert drawn[1].amin() == 5 and drawn[1].amax() < 5 + pixels / 100


@pytest.mark.parametrize("patch_width", [4, 8])
def test_a_head_on_plain_mgp_reads_the_same_tokens(patch_width):
    """Two images that differ in one patch differ in the map of a one-block-free encoder there."""
    sizes = {"width": 48, "num_heads": 3, "depth": 1, "patch_width": patch_width}
    model = small_model(MGP_TINY, **sizes, granularities=("char",), core_area_head=True).eval()
    model.blocks = torch.nn.ModuleList()  # tokens stay where they are
    one = torch.rand(1, 3, 32, 128)
    other = one.clone()
    other[..., 8:12, 16:24] = 1 - other[..., 8:12, 16:24]
    with torch.no_grad():
        changed = (model(one).core_area != model(other).core_area)[0, 0]
    expected = torch.zeros(32, 128, dtype=torch.bool)
    expected[8:12, 16:24] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_a_head_on_plain_mgp_learns_only_when_told(form):
    sizes = {"width": 48, "num_heads": 3, "depth": 2, "core_area_head": True}
    model = small_model(MGP_TINY, **sizes, core_area_form=form)
    losses = losses_of(model)
    assert {"core_area_loss", "guidance_loss"} <= losses.keys()
    sum(loss.mean for loss in losses.values()).backward()
    assert unreached(model) == []
    assert model.core_area_head.proj.weight.grad.any()
    model.zero_grad(set_to_none=True)
    model.learn_core_areas(False)
    losses = losses_of(model, core_area=None, has_core_area=None)
    sum(loss.mean for loss in losses.values()).backward()
    assert unreached(model) == []
    assert model.core_area_head.proj.weight.grad is None


def test_a_model_without_a_map_has_no_loss_of_it():
    model = small_model(MGP_TINY, width=48, num_heads=3, depth=2)
    model.learn_core_areas(True)
    losses = losses_of(model)
    assert "core_area_loss" not in losses and "guidance_loss" in losses
    with torch.no_grad():
        assert model.eval()(batch_for(model.config)[0]).core_area is None
