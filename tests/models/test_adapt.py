import pytest
import torch

from models import create_model, preset_config
from models.adapt import load_adapted
from models.checkpoint_error import CheckpointError

MINI = "mgp_str_mini_stem8x8_3_32_128"


def adapted(**changes):
    torch.manual_seed(1)
    source = create_model(MINI, characters="abcd", max_length=5)
    target = create_model(MINI, **{"characters": "abcd", "max_length": 5, **changes})
    fresh = {k: v.clone() for k, v in target.state_dict().items()}
    report = load_adapted(target, source.config, source.state_dict())
    return source.state_dict(), fresh, target.state_dict(), report


def test_the_same_configuration_takes_everything():
    source, _, result, report = adapted()
    assert all(torch.equal(source[k], result[k]) for k in source)
    assert (report.kept, report.converted, report.initialised) == (len(source), (), ())


def test_characters_move_with_their_rows():
    source, fresh, result, report = adapted(characters="dxa")
    for name in ("char_head.weight", "char_head.bias", "head.weight"):
        assert torch.equal(result[name][:2], source[name][:2])  # start and stop
        assert torch.equal(result[name][2], source[name][5])  # d
        assert torch.equal(result[name][3], fresh[name][3])  # x is new
        assert torch.equal(result[name][4], source[name][2])  # a
    assert "char_head.weight: 2 of 3 characters taken over" in str(report)


def test_a_reordered_charset_of_equal_size_moves_too():
    source, _, result, _ = adapted(characters="dcba")
    assert torch.equal(result["char_head.bias"][2:], source["char_head.bias"][2:].flip(0))


def test_longer_labels_keep_the_first_positions():
    source, fresh, result, report = adapted(max_length=9)
    name = "bpe_tokenLearner.tokenLearner.1.weight"
    assert torch.equal(result[name][:7], source[name])
    assert torch.equal(result[name][7:], fresh[name][7:])
    assert f"{name}: 7 of 11 label positions" in str(report)


def test_position_embeddings_are_interpolated():
    source, _, result, report = adapted(image_width=256)
    assert torch.equal(result["pos_embed"][:, 0], source["pos_embed"][:, 0])
    before = source["pos_embed"][0, 1:].reshape(4, 16, -1)
    after = result["pos_embed"][0, 1:].reshape(4, 32, -1)
    # Each old column lies between two new ones.
    pairs = (after[:, 0::2] + after[:, 1::2]) / 2
    assert (pairs - before).abs().mean() < 0.3 * before.abs().mean()
    assert "pos_embed: interpolated from 4x16 to 4x32 patches" in str(report)


def test_another_vocabulary_of_equal_size_is_not_taken():
    torch.manual_seed(1)
    source = create_model(MINI)
    # The vocabulary's text does not matter here, only that it is another one.
    config = preset_config(MINI).with_changes(wp_vocabulary="another")
    target = create_model(MINI)
    target.config = config
    report = load_adapted(target, source.config, source.state_dict())
    assert report.initialised == ("wp_head.weight", "wp_head.bias")


def test_channels_that_differ_are_initialised_and_named():
    _, fresh, result, report = adapted(channels=1)
    (name,) = report.initialised
    assert name == "patch_embed.layers.0.weight"
    assert torch.equal(result[name], fresh[name])


def test_the_trained_classifier_moves_between_the_methods():
    changes = {"width": 192, "depth": 2, "num_heads": 3}
    torch.manual_seed(1)
    mgp = create_model("mgp_str_tiny_patch4_3_32_128", depth=2)
    char = create_model("char_str_base_patch4_3_32_128", **changes)
    report = load_adapted(char, mgp.config, mgp.state_dict())
    assert torch.equal(char.head.weight, mgp.char_head.weight)
    assert "bpe_head.weight" in report.left_out
    assert "not used: " in str(report)
    back = create_model("mgp_str_tiny_patch4_3_32_128", depth=2)
    load_adapted(back, char.config, char.state_dict())
    assert torch.equal(back.char_head.weight, mgp.char_head.weight)


def test_the_same_number_of_patches_in_another_grid_is_interpolated():
    source, _, result, report = adapted(image_height=64, image_width=64)
    assert result["pos_embed"].shape == source["pos_embed"].shape
    assert not torch.equal(result["pos_embed"][:, 1:], source["pos_embed"][:, 1:])
    assert "interpolated from 4x16 to 8x8 patches" in str(report)


def test_weights_of_another_width_are_refused():
    source = create_model(MINI)
    target = create_model(MINI, width=96, characters="abc")
    fresh = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(CheckpointError, match="nothing in its encoder's blocks fits"):
        load_adapted(target, source.config, source.state_dict())
    assert all(torch.equal(fresh[k], v) for k, v in target.state_dict().items())


def test_a_report_says_how_much_is_taken():
    source = create_model(MINI)
    target = create_model(MINI, granularities=("char", "wp"), wp_classes=7)
    report = load_adapted(target, source.config, source.state_dict())
    new = sum(target.state_dict()[name].numel() for name in report.initialised)
    share = 1 - new / sum(v.numel() for v in target.state_dict().values())
    assert 0.5 < share < 1 and f"({share:.0%} of the model)" in str(report)
    # Of characters that none is taken of, nothing is.
    target = create_model(MINI, granularities=("char",), characters="äöü")
    told = load_adapted(target, source.config, source.state_dict())
    heads = sum(v.numel() for n, v in target.state_dict().items() if "head" in n)
    assert told.share == pytest.approx(
        1 - heads / sum(v.numel() for v in target.state_dict().values())
    )
