"""Options are those of the official parsers, and each has its effect."""

import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from engine.learning_options import augmentation_settings, loss_weights, optimization
from engine.model_options import check_against_checkpoint, training_config
from engine.option_error import OptionError
from engine.reading_options import check_evaluation, checkpoints_to_test
from models import preset_config
from progress import RunLog
from text import CHARSET_PRESETS
from train_final_dist import prepare_model
from utils import REFUSED, build_parser, get_args

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["--train_data", "t", "--valid_data", "v"]
TEST = ["--eval_data", "e", "--model_dir", "m.pth"]
TINY = "mgp_str_tiny_patch4_3_32_128"

OFFICIAL_TRAINING = """
    --train_data x --valid_data x --select_data MJ-ST --batch_ratio 0.5-0.5
    --total_data_usage_ratio 1.0 --batch_size 192 --num_iter 300000 --valInterval 2000
    --saved_model x --saved_path ./saved_models --exp_name x --manualSeed 1111 --workers 4
    --adam --lr 1 --beta1 0.9 --rho 0.95 --eps 1e-8 --grad_clip 5 --scheduler
    --batch_max_length 25 --imgH 32 --imgW 128 --rgb --character 0123456789 --PAD
    --data_filtering_off --Transformer mgp-str --TransformerModel mgp_str_tiny_patch4_3_32_128
    --isrand_aug --augs_num 3 --augs_mag 1 --intact_prob 0.5 --FT --device cpu --local_rank 0
    --is_mask_supervision --freeze
    --world_size 1 --dist_url env://
"""


def test_every_official_training_option_is_taken():
    get_args("train_final_dist", OFFICIAL_TRAINING.split())
    get_args("train_final_dist", [*TRAIN, "--sgd", "--sensitive", "--local-rank", "0"])


def test_every_official_testing_option_is_taken():
    arguments = """--benchmark_all_eval --fast_acc --calculate_infer_time --eval_img
        --range 5-10 --data_filtering_off --rgb --PAD --flops --device cpu --batch_size 2
        --local_rank 0 --world_size 1 --workers 0 --Transformer mgp-str --imgH 32 --imgW 128
        --batch_max_length 25"""
    get_args("test_final", TEST + arguments.split())


def test_defaults_are_the_references():
    options = get_args("train_final_dist", TRAIN)
    assert options.select_data == "MJ-ST"
    assert (options.batch_size, options.num_iter, options.valInterval) == (192, 300_000, 2000)
    assert (options.manualSeed, options.workers) == (1111, 4)
    assert (options.augs_num, options.augs_mag, options.intact_prob) == (3, None, 0.5)
    assert options.saved_path == "./saved_models"
    chosen = optimization(options)
    assert (chosen.optimizer, chosen.lr, chosen.rho, chosen.eps) == ("adadelta", 1.0, 0.95, 1e-8)
    assert (chosen.grad_clip, chosen.schedule) == (5.0, "constant")
    config = training_config(options, None)
    assert config.name == "mgp_str_base_patch4_3_32_128"
    assert (config.image_height, config.image_width, config.max_length) == (32, 128, 25)
    assert config.characters == CHARSET_PRESETS["36"]


@pytest.mark.parametrize("name", REFUSED)
def test_options_without_effect_are_refused_with_a_sentence(name, capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [*TRAIN, f"--{name}", "1"])
    assert f"--{name} has no effect in these methods" in capsys.readouterr().err


def test_an_option_of_another_script_is_named(capsys):
    with pytest.raises(SystemExit):
        get_args("demo", ["--model_dir", "m", "--demo_imgs", "d", "--isrand_aug"])
    assert "--isrand_aug is an option of train_final_dist.py, not of demo.py" in (
        capsys.readouterr().err
    )


def test_one_dash_too_few_is_guessed(capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [*TRAIN, "-batch_ratio", "1"])
    assert "options begin with two dashes: --batch_ratio?" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["train_final_dist", "test_final", "demo", "export"])
def test_help_says_the_default_of_every_option(script):
    for action in build_parser(script)._actions:
        if not action.required and action.option_strings != ["-h", "--help"]:
            assert re.search(r"default:|\(default", action.help), action.option_strings


@pytest.mark.parametrize("workers", [0, 3])
def test_workers(workers):
    assert get_args("train_final_dist", [*TRAIN, "--workers", str(workers)]).workers == workers


def test_minus_one_worker_is_all_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert get_args("train_final_dist", [*TRAIN, "--workers", "-1"]).workers == 7


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--imgH", "48"], "image_height", 48),
        (["--imgW", "256"], "image_width", 256),
        (["--batch_max_length", "40"], "max_length", 40),
        (["--rgb"], "channels", 3),
        ([], "channels", 1),
        (["--sensitive"], "characters", CHARSET_PRESETS["94"]),
        (["--character", "62"], "characters", CHARSET_PRESETS["62"]),
        (["--character", "abc"], "characters", "abc"),
        (["--Transformer", "char-str"], "name", "char_str_base_patch4_3_32_128"),
        (["--TransformerModel", TINY], "width", 192),
    ],
)
def test_model_options_have_their_effect(arguments, field, value):
    config = training_config(get_args("train_final_dist", TRAIN + arguments), None)
    assert getattr(config, field) == value


def test_training_from_a_checkpoint_keeps_what_is_not_said():
    start = preset_config(TINY, characters="abc", image_width=64)
    kept = training_config(get_args("train_final_dist", TRAIN), start)
    assert kept == start
    changed = training_config(
        get_args("train_final_dist", [*TRAIN, "--sensitive", "--imgW", "128"]), start
    )
    assert (changed.characters, changed.image_width) == (CHARSET_PRESETS["94"], 128)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--adam", "--lr", "0.001", "--beta1", "0.5"], ("adam", 0.001, "constant")),
        (["--sgd"], ("sgd", 1.0, "constant")),
        (["--scheduler"], ("adadelta", 1.0, "reference")),
        (["--schedule", "cosine"], ("adadelta", 1.0, "cosine")),
        (["--FT", "--saved_model", "x"], ("adadelta", 0.1, "cosine")),
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
    ],
)
def test_optimizer_options_that_contradict(arguments, message):
    with pytest.raises(OptionError, match=message):
        optimization(get_args("train_final_dist", TRAIN + arguments))


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
    ("arguments", "both"),
    [
        (["--imgW", "256"], "256.*128"),
        (["--batch_max_length", "30"], "30.*25"),
        (["--character", "62"], "0123456789abc.*0123456789abc"),
        (["--TransformerModel", "mgp_str_base_patch4_3_32_128"], f"mgp_str_base.*{TINY}"),
        (["--Transformer", "char-str"], "char-str.*mgp-str"),
    ],
)
def test_testing_with_other_values_than_the_checkpoint_names_both(arguments, both):
    options = get_args("test_final", TEST + arguments)
    with pytest.raises(OptionError, match=both):
        check_against_checkpoint(options, preset_config(TINY))


def test_a_color_flag_against_a_grey_model_is_refused():
    options = get_args("test_final", [*TEST, "--rgb"])
    with pytest.raises(OptionError, match=r"3.*1"):
        check_against_checkpoint(options, preset_config(TINY, channels=1))


def test_the_same_values_as_the_checkpoint_are_fine():
    arguments = ["--rgb", "--imgH", "32", "--Transformer", "mgp-str", "--TransformerModel", TINY]
    check_against_checkpoint(get_args("test_final", TEST + arguments), preset_config(TINY))


def test_a_model_of_another_method_is_refused():
    arguments = ["--Transformer", "char-str", "--TransformerModel", TINY]
    with pytest.raises(OptionError, match="a model of mgp-str, not of char-str"):
        training_config(get_args("train_final_dist", TRAIN + arguments), None)


def test_a_range_of_checkpoints(tmp_path):
    for number in (5, 10, 200):
        (tmp_path / f"iter_{number}.pth").touch()
    (tmp_path / "best_accuracy.pth").touch()

    def chosen(*arguments):
        options = get_args(
            "test_final", ["--eval_data", "e", "--model_dir", str(tmp_path), *arguments]
        )
        return [p.name for p in checkpoints_to_test(options)]

    assert chosen() == ["iter_5.pth", "iter_10.pth", "iter_200.pth"]
    assert chosen("--range", "6-200") == ["iter_10.pth", "iter_200.pth"]
    with pytest.raises(OptionError, match=r"no iter_N.pth .* it has iter_5.pth"):
        chosen("--range", "300-400")
    with pytest.raises(OptionError, match="as in 5000-20000"):
        chosen("--range", "all")


def test_values_that_cannot_be_are_sentences(tmp_path):
    broken = tmp_path / "vocabulary.json"
    broken.write_text("{}")
    for arguments, message in (
        (["--imgH", "30"], "can't be cut into patches"),
        (["--character", "aa"], "--character: Characters that stand twice"),
        (["--bpe_vocabulary", str(broken)], "not a tokenizers JSON file"),
        (["--wp_vocabulary", str(tmp_path / "none.json")], "can't be read"),
        (["--sensitive", "--character", "36"], "a charset of its own"),
    ):
        with pytest.raises(OptionError, match=message):
            training_config(get_args("train_final_dist", TRAIN + arguments), None)


def test_an_own_vocabulary_sets_the_size_of_its_head(tmp_path):
    file = tmp_path / "vocabulary.json"
    Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2}, unk_token="b")).save(str(file))
    options = get_args("train_final_dist", [*TRAIN, "--bpe_vocabulary", str(file)])
    config = training_config(options, None)
    assert config.bpe_classes == 5
    assert config.wp_classes == 30522


def test_a_vocabulary_without_its_head_is_refused(tmp_path):
    file = tmp_path / "vocabulary.json"
    Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2}, unk_token="b")).save(str(file))
    with pytest.raises(OptionError, match="for a bpe head, which acds_str_tiny lacks"):
        parsed_training("--TransformerModel", "acds_str_tiny", "--bpe_vocabulary", str(file))


STAGES = ROOT / "recipes" / "acds_char_str_light"
RECIPE = [*sorted(STAGES.glob("[0-9]*.txt")), STAGES / "unguided.txt"]


@pytest.mark.parametrize("stage", RECIPE, ids=lambda file: file.stem)
def test_every_stage_of_the_recipe_can_be_taken(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = get_args("train_final_dist", [f"@{stage}"])
    assert training_config(options, None) == preset_config("acds_char_str_light")
    assert optimization(options).optimizer == "adamw" and options.resume == "auto"
    stages = [f"saved_models/{get_args('train_final_dist', [f'@{s}']).exp_name}" for s in RECIPE]
    if options.saved_model:
        assert options.saved_model.rpartition("/")[0] in stages


def test_an_unknown_method_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [*TRAIN, "--Transformer", "crnn"])
    assert "ACDS-STR-Base" in capsys.readouterr().err


def parsed_training(*arguments: str):
    options = get_args("train_final_dist", [*TRAIN, *arguments])
    return options, training_config(options, None)


def test_official_names_of_acds_need_no_model_name():
    for method, name in (("Base", "acds_str_base"), ("Small", "acds_str_small")):
        assert parsed_training("--Transformer", f"ACDS-STR-{method}")[1].name == name
    with pytest.raises(OptionError, match="acds_str_base, not acds_str_small"):
        parsed_training("--Transformer", "ACDS-STR-Base", "--TransformerModel", "acds_str_small")


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


def test_core_areas_give_a_plain_model_a_head_for_them():
    assert not parsed_training()[1].core_area_head
    assert parsed_training("--is_mask_supervision")[1].core_area_head
    acds = ("--Transformer", "ACDS-STR-Small", "--is_mask_supervision")
    assert not parsed_training(*acds)[1].core_area_head
    assert parsed_training(*acds, "--core_area_form", "sigmoid")[1].core_area_form == "sigmoid"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_iter", "many"], "a whole number, 1 or more, not many"),
        (["--grad_clip", "0"], "a number above 0, not 0"),
        (["--lr", "-1"], "a number above 0"),
        (["--rho", "2"], "from 0 to below 1"),
        (["--beta1", "1"], "from 0 to below 1"),
        (["--intact_prob", "2"], "from 0 to 1"),
        (["--manualSeed", "-1"], "0 or more"),
        (["--total_data_usage_ratio", "0"], "above 0, at most 1"),
        (["--workers", "-2"], "-1 (all cores), 0 or more"),
    ],
)
def test_values_out_of_range_are_refused_in_words(arguments, message, capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", TRAIN + arguments)
    assert message in capsys.readouterr().err


def test_naming_the_checkpoints_own_method_changes_nothing():
    start = preset_config(TINY, image_width=256, keep_ratio=True)
    options = get_args("train_final_dist", [*TRAIN, "--Transformer", "mgp-str"])
    assert training_config(options, start) == start


def test_another_size_keeps_what_belongs_to_the_data():
    start = preset_config(TINY, image_width=256, keep_ratio=True, characters="abc", max_length=9)
    name = "mgp_str_small_patch4_3_32_128"
    options = get_args("train_final_dist", [*TRAIN, "--TransformerModel", name])
    assert training_config(options, start) == preset_config(
        name, image_width=256, keep_ratio=True, characters="abc", max_length=9
    )


def test_padding_is_part_of_the_model():
    options = get_args("train_final_dist", [*TRAIN, "--PAD"])
    assert training_config(options, None).keep_ratio
    testing = get_args("test_final", [*TEST, "--PAD"])
    check_against_checkpoint(testing, preset_config(TINY, keep_ratio=True))
    with pytest.raises(OptionError, match=r"--PAD .* True, but .* False"):
        check_against_checkpoint(testing, preset_config(TINY))


def test_regularization_reaches_the_model():
    own = ["--label_smoothing", "0.1", "--stochastic_depth", "0.2", "--TransformerModel", TINY]
    options = get_args("train_final_dist", TRAIN + own)
    config = training_config(options, None)
    model = prepare_model(options, config, None, None, RunLog(enabled=False))
    assert model.label_smoothing == 0.1
    assert model.blocks[-1].drop_path2.probability == 0.2


def test_first_weights_come_from_one_place():
    arguments = ["--pretrained", "--saved_model", "x"]
    with pytest.raises(OptionError, match="choose one"):
        optimization(get_args("train_final_dist", TRAIN + arguments))


@pytest.mark.parametrize("arguments", [["--fast_acc"], ["--eval_img", "--benchmark_all_eval"]])
def test_ways_of_scoring_that_exclude_each_other(arguments):
    with pytest.raises(OptionError, match="benchmark_all_eval"):
        check_evaluation(get_args("test_final", TEST + arguments))


def test_a_file_of_options_stands_for_them(tmp_path, capsys):
    file = tmp_path / "recipe.txt"
    file.write_text(
        "# a remark\n--train_data 'my data'  # another\n\n--valid_data v --adamw --lr 0.001\n",
        encoding="utf-8",
    )
    options = get_args("train_final_dist", [f"@{file}", "--lr", "0.1"])
    assert (options.train_data, options.valid_data, options.adamw) == ("my data", "v", True)
    assert options.lr == 0.1  # what comes later counts
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [f"@{tmp_path / 'none'}"])
    assert "No such file" in capsys.readouterr().err


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
