"""Options are those of the official parsers, and each has its effect."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine.learning_options import optimization
from engine.model_options import training_config
from engine.option_error import OptionError
from models import preset_config
from text import CHARSET_PRESETS
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


def test_an_unknown_option_goes_before_a_missing_one(capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", ["--config", "options.yaml", "--lr=1"])
    assert "--config is not known" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        get_args("test_final", ["--eval_data", "x", "--modeldir", "y"])
    assert "--modeldir is not known" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        get_args("train_final_dist", ["--lr", "-1", "--"])
    assert "above 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        get_args("train_final_dist", ["--lr", "1"])
    assert "required: --valid_data" in capsys.readouterr().err


@pytest.mark.parametrize(("suffix", "form"), [("yaml", "YAML"), ("yml", "YAML"), ("json", "JSON")])
def test_a_file_of_options_is_no_yaml(suffix, form, capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [f"@options.{suffix}"])
    assert f"must hold options as on the command line, not {form}." in capsys.readouterr().err


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
    monkeypatch.setattr("utils.available_cores", lambda: 7)
    assert get_args("train_final_dist", [*TRAIN, "--workers", "-1"]).workers == 7


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


def test_the_recipe_of_the_larger_reader_can_be_taken(monkeypatch):
    monkeypatch.chdir(ROOT)
    options = get_args("train_final_dist", ["@recipes/acds_char_str_small/train.txt"])
    assert training_config(options, None) == preset_config("acds_char_str_small")
    assert options.compile and options.is_mask_supervision and options.resume == "auto"
    second = get_args("train_final_dist", ["@recipes/acds_char_str_small/train_on.txt"])
    assert second.saved_model == f"saved_models/{options.exp_name}/best_accuracy.pth"
    assert second.compile and second.exp_name != options.exp_name
    assert optimization(second) == replace(
        optimization(options), lr=1e-3, warmup=100, iterations=second.num_iter
    )


def test_an_unknown_method_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [*TRAIN, "--Transformer", "crnn"])
    assert "ACDS-STR-Base" in capsys.readouterr().err


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
    ("text", "message"),
    [
        ("@{file}", "names itself"),
        ("--lr 1\n--exp_name it's", "line 2 of .*: No closing quotation: --exp_name it's"),
        ("--exp_name caf\xe9".encode("latin-1"), "can't be read: 'utf-8' codec"),
    ],
)
def test_a_bad_file_of_options_is_told(tmp_path, capsys, text, message):
    file = tmp_path / "options.txt"
    contents = text if isinstance(text, bytes) else text.format(file=file).encode()
    file.write_bytes(contents)
    with pytest.raises(SystemExit):
        get_args("train_final_dist", [f"@{file}"])
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(message, shown)


def test_in_a_word_a_hash_is_a_character(tmp_path):
    file = tmp_path / "options.txt"
    lines = (
        "\ufeff# first\n--exp_name run#3 --character '0 #' # rest --lr 5\n  # more\n--num_iter 7"
    )
    file.write_text(lines, encoding="utf-8")
    options = get_args("train_final_dist", [*TRAIN, f"@{file}"])
    assert (options.exp_name, options.character, options.num_iter) == ("run#3", "0 #", 7)
    assert options.lr is None
