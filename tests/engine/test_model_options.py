"""The model that training options ask for, and options that contradict a checkpoint."""

import pytest
from tokenizers import Tokenizer, models

from console.progress import RunLog
from engine.learning_options import optimization
from engine.model_options import check_against_checkpoint, training_config
from engine.option_error import OptionError
from models import preset_config
from text import CHARSET_PRESETS
from train_final_dist import prepare_model
from utils import get_args

TRAIN = ["--train_data", "t", "--valid_data", "v"]
TEST = ["--eval_data", "e", "--model_dir", "m.pth"]
TINY = "mgp_str_tiny_patch4_3_32_128"


def parsed_training(*arguments: str):
    options = get_args("train_final_dist", [*TRAIN, *arguments])
    return options, training_config(options, None)


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


def test_official_names_of_acds_need_no_model_name():
    for method, name in (("Base", "acds_str_base"), ("Small", "acds_str_small")):
        assert parsed_training("--Transformer", f"ACDS-STR-{method}")[1].name == name
    with pytest.raises(OptionError, match="acds_str_base, not acds_str_small"):
        parsed_training("--Transformer", "ACDS-STR-Base", "--TransformerModel", "acds_str_small")


def test_core_areas_give_a_plain_model_a_head_for_them():
    assert not parsed_training()[1].core_area_head
    assert parsed_training("--is_mask_supervision")[1].core_area_head
    acds = ("--Transformer", "ACDS-STR-Small", "--is_mask_supervision")
    assert not parsed_training(*acds)[1].core_area_head
    assert parsed_training(*acds, "--core_area_form", "sigmoid")[1].core_area_form == "sigmoid"


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
