"""Optimizer, schedule, augmentation and losses as the options say."""

import pytest

from engine.learning_options import augmentation_settings, loss_weights, optimization
from engine.model_options import training_config
from engine.option_error import OptionError
from engine.run_data import select_data
from utils import get_args

TRAIN = ["--train_data", "t", "--valid_data", "v"]


def parsed_training(*arguments: str):
    options = get_args("train_final_dist", [*TRAIN, *arguments])
    return options, training_config(options, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--adam", "--lr", "0.001", "--beta1", "0.5"], ("adam", 0.001, "constant")),
        (["--sgd"], ("sgd", 1.0, "constant")),
        (["--scheduler"], ("adadelta", 1.0, "reference")),
        (["--schedule", "cosine"], ("adadelta", 1.0, "cosine")),
        (["--FT", "--saved_model", "x"], ("adadelta", 0.1, "cosine")),
        (["--FT", "--saved_model", "x", "--adamw"], ("adamw", 0.0001, "cosine")),
        (["--FT", "--saved_model", "x", "--sgd", "--lr", "0.5"], ("sgd", 0.5, "cosine")),
    ],
)
def test_optimizer_options_have_their_effect(arguments, expected):
    chosen = optimization(get_args("train_final_dist", TRAIN + arguments))
    assert (chosen.optimizer, chosen.lr, chosen.schedule) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "--schedule", "cosine"], "exclude each other"),
        (["--FT"], "name it with --saved_model"),
        (["--compile", "--recompute"], "decides by itself"),
        (["--beta1", "0.5"], "setting of adam, adamw, sgd, not adadelta"),
        (["--adam", "--rho", "0.9"], "setting of adadelta, not adam"),
        (["--sgd", "--eps", "1e-6"], "setting of adadelta, not sgd"),
    ],
)
def test_optimizer_options_that_contradict(arguments, message):
    with pytest.raises(OptionError, match=message):
        optimization(get_args("train_final_dist", TRAIN + arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--synthetic_level", "easy"], "add synthetic to --select_data"),
        (["--select_data", "synthetic", "--total_data_usage_ratio", "0.5"], "names none"),
    ],
)
def test_settings_of_data_that_are_not_selected(arguments, message):
    with pytest.raises(OptionError, match=message):
        select_data(get_args("train_final_dist", TRAIN + arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--isrand_aug", "--augs_num", "2"], {"mode": "random", "number": 2}),
        (["--isrand_aug", "--augs_mag", "1"], {"magnitude": 1}),
        (["--isrand_aug", "--intact_prob", "0.1"], {"intact_probability": 0.1}),
        (["--isrand_aug", "--manualSeed", "7"], {"seed": 7}),
        (["--issel_aug", "--blur", "--warp"], {"mode": "selected", "groups": ("blur", "warp")}),
        (["--issemantic_aug"], {"mode": "semantic"}),
        (["--isrotation_aug"], {"mode": "rotation"}),
        (["--isscatter_aug"], {"mode": "scatter"}),
        (["--islearning_aug"], {"mode": "learning"}),
    ],
)
def test_augmentation_options_have_their_effect(arguments, expected):
    settings = augmentation_settings(get_args("train_final_dist", TRAIN + arguments))
    assert expected.items() <= settings.items()


def test_no_augmentation_by_default_and_on_request():
    assert augmentation_settings(get_args("train_final_dist", TRAIN)) is None
    assert augmentation_settings(get_args("train_final_dist", [*TRAIN, "--close_aug"])) is None


def test_choosing_groups_without_naming_one_is_refused():
    with pytest.raises(OptionError, match="--issel_aug needs a group: --process"):
        augmentation_settings(get_args("train_final_dist", [*TRAIN, "--issel_aug"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--intact_prob", "0.1"],
            "--intact_prob is about augmentation, which none of --isrand_aug",
        ),
        (["--close_aug", "--augs_mag", "0"], "--augs_mag is about augmentation"),
        (["--issel_aug", "--blur", "--augs_num", "2"], "--issel_aug takes every group"),
    ],
)
def test_settings_of_no_augmentation_are_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        augmentation_settings(get_args("train_final_dist", TRAIN + arguments))


def test_a_group_without_its_mode_is_refused():
    with pytest.raises(OptionError, match="add --issel_aug"):
        augmentation_settings(get_args("train_final_dist", [*TRAIN, "--isrand_aug", "--blur"]))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--Transformer", "ACDS-STR-Base"], {"char_loss": 1}),
        (
            ["--Transformer", "ACDS-STR-Base", "--is_mask_supervision"],
            {"char_loss": 1, "core_area_loss": 0.5},
        ),
        (
            [
                *("--TransformerModel", "acds_mgp_str_tiny", "--is_mask_supervision"),
                *("--core_area_weight", "2", "--guidance_weight", "0.1", "--bpe_weight", "0"),
            ],
            {"char_loss": 1, "wp_loss": 1, "core_area_loss": 2, "guidance_loss": 0.1},
        ),
    ],
)
def test_loss_weights(arguments, expected):
    weights = loss_weights(*parsed_training(*arguments))
    assert {name: weight for name, weight in weights.items() if weight} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--core_area_weight", "1"], "needs --is_mask_supervision"),
        (["--Transformer", "ACDS-STR-Base", "--bpe_weight", "1"], "acds_str_base lacks"),
        (["--Transformer", "ACDS-STR-Base", "--guidance_weight", "1"], "acds_mgp_str models have"),
        (["--Transformer", "char-str", "--char_weight", "0"], "nothing to learn"),
        (["--core_area_form", "sigmoid"], "does not; --is_mask_supervision gives"),
    ],
)
def test_guidance_options_that_can_do_nothing_are_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        loss_weights(*parsed_training(*arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warmup", "5", "--scheduler"], "--warmup goes with a constant rate"),
        (["--warmup", "5", "--schedule", "onecycle"], "onecycle has its own way"),
        (["--warmup", "9", "--num_iter", "9"], "must be shorter than the run"),
    ],
)
def test_a_warm_up_needs_room(arguments, message):
    with pytest.raises(OptionError, match=message):
        optimization(get_args("train_final_dist", [*TRAIN, *arguments]))


def test_choices_of_optimization_arrive():
    given = ["--adamw", "--weight_decay", "0.05", "--layer_decay", "0.8", "--warmup", "7"]
    chosen = optimization(get_args("train_final_dist", [*TRAIN, *given]))
    assert (chosen.optimizer, chosen.weight_decay, chosen.layer_decay, chosen.warmup) == (
        "adamw",
        0.05,
        0.8,
        7,
    )
