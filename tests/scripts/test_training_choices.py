"""Options that change how a run goes: rehearsed, averaged, accumulated, scored on other sets."""

import json
import re

import torch

from models import create_model
from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.config import ModelConfig
from models.registry import preset_config
from text import CHARSET_PRESETS
from tools.stress_resume import run_differences
from train_final_dist import prepare_model
from utils import get_args

MODEL = "acds_str_tiny"


def test_a_dry_run_tells_the_time_and_writes_nothing(run, short_run, tmp_path):
    place = tmp_path / "runs"
    shown = run(short_run(place, MODEL, "--num_iter", 1000, "--dry_run")).stdout
    assert "rehearsed 3 steps" in shown
    assert "1 validations (4 images); 1,000 iterations would take about" in shown
    assert "peak memory so far" in shown and "nothing was written" in shown
    assert not place.exists()


def test_a_dry_run_finds_what_a_run_would(run, short_run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/best_accuracy.pth").write_bytes(b"")
    done = run(short_run(tmp_path, MODEL, "--dry_run"), ok=False)
    assert done.returncode == 2 and "holds the weights of another run" in done.stderr
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/wandb.py").write_text("raise ImportError\n")
    command = short_run(tmp_path / "other", MODEL, "--dry_run", "--wandb", "words")
    done = run(command, ok=False, PYTHONPATH=str(tmp_path / "modules"))
    assert done.returncode == 2 and "pip install wandb" in done.stderr


def test_a_set_that_is_trained_on_and_scored_is_warned_of(run, short_run, data_tree, tmp_path):
    own = ["--valid_data", data_tree / "training/ST", "--dry_run"]
    shown = run(short_run(tmp_path, MODEL, *own)).stdout
    assert f"warning: validation ST is trained on, too ({data_tree / 'training/ST'})" in shown
    assert "warning: validation" not in run(short_run(tmp_path, MODEL, "--dry_run")).stdout


def test_averages_and_accumulated_steps_resume_bit_for_bit(run, short_run, data_tree, tmp_path):
    own = ["--adamw", "--lr", 0.001, "--ema", 0.9, "--accumulate", 2, "--valInterval", 2]
    own += ["--eval_data", data_tree / "evaluation/CUTE80", "--num_iter", 4]
    whole = run(short_run(tmp_path / "whole", MODEL, *own)).stdout
    assert "2 batches a step, 8 a step" in whole
    assert "evaluation after iteration 4" in whole
    # Half of it, as if it had been stopped there.
    run(short_run(tmp_path / "parts", MODEL, *own[:-1], 2))
    run(short_run(tmp_path / "parts", MODEL, *own, "--resume", "auto"))
    assert not run_differences(tmp_path / "whole/run", tmp_path / "parts/run")
    state = load_checkpoint(tmp_path / "whole/run/last.pth")
    average = load_checkpoint(tmp_path / "whole/run/iter_4.pth").state_dict
    kept = state.extra["training"]["average"]
    assert kept["updates"] == 4
    assert all(torch.equal(kept["model"][name], value) for name, value in average.items())
    assert not torch.equal(state.state_dict["pos_embed"], average["pos_embed"])
    lines = (tmp_path / "whole/run/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert any("evaluation/CUTE80/char_accuracy" in json.loads(line) for line in lines)


def test_labels_that_a_granularity_cannot_learn_are_counted(
    run, short_run, tmp_path, make_lmdb, encode_image
):
    make_lmdb(tmp_path / "data/odd", [(encode_image(word), word) for word in ("#", "ab")])
    data = ["--train_data", tmp_path / "data", "--select_data", "odd", "--batch_ratio", 1]
    model = "mgp_str_mini_stem8x8_3_32_128"
    shown = run(short_run(tmp_path, model, *data, "--sensitive", "--num_iter", 1)).stdout
    assert "2 labels so far could not be learned by bpe, whose" in shown
    assert "could not be learned by wp" not in shown


def test_validation_compares_the_words_that_testing_compares(
    run, short_run, tmp_path, make_lmdb, encode_image
):
    words = ["ab", "!!!", "-", "a" * 26]
    make_lmdb(tmp_path / "valid", [(encode_image("ab"), word) for word in words])
    cased = ["--sensitive", "--valid_data", tmp_path / "valid", "--dry_run"]
    shown = run(short_run(tmp_path, MODEL, *cased)).stdout
    assert "validation valid: 2 records kept, 2 dropped" in shown and "scored on 36" in shown
    shown = run(short_run(tmp_path, MODEL, *cased, "--protocol", "94")).stdout
    assert "validation valid: 4 records kept, 0 dropped" in shown and "scored on 94" in shown


def losses(place) -> set[str]:
    """Names of the losses that were logged, all of them above 0."""
    lines = (place / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    (found,) = (entry for entry in map(json.loads, lines) if "train/loss" in entry)
    told = ("learning_rate", "gradient_norm", "images_per_s", "data_wait_share", "skipped_steps")
    assert {f"train/{name}" for name in told} <= found.keys()
    own = {name: value for name, value in found.items() if name.endswith("_loss")}
    assert all(value > 0 for value in own.values()), own
    return {name.removeprefix("train/") for name in own}


def test_guidance_reaches_the_training(run, short_run, tmp_path):
    guided = ["--is_mask_supervision", "--guidance_weight", 0.2]
    ways = {
        "guided": ("acds_mgp_str_tiny", guided, {"core_area_loss", "guidance_loss"}),
        "core_areas": ("mgp_str_mini_stem8x8_3_32_128", guided[:1], {"core_area_loss"}),
        "attention": ("mgp_str_mini_stem8x8_3_32_128", guided[1:], {"guidance_loss"}),
    }
    for name, (model, own, more) in ways.items():
        run(short_run(tmp_path / name, model, "--num_iter", 10, *own))  # metrics come every ten
        found = losses(tmp_path / name / "run")
        assert found == {"char_loss", "bpe_loss", "wp_loss"} | more, name


def test_the_second_stage_freezes_what_guides(run, short_run, tmp_path):
    torch.manual_seed(0)
    first = create_model(MODEL)
    save_checkpoint(tmp_path / "first.pth", first)
    stage = ["--saved_model", tmp_path / "first.pth", "--freeze", "--num_iter", 1]
    assert "newly initialised" not in run(short_run(tmp_path, MODEL, *stage)).stdout
    after = load_checkpoint(tmp_path / "run/iter_1.pth").state_dict
    moved = {name for name, value in first.named_parameters() if not after[name].equal(value)}
    frozen = ("cnnBackbone.layer1.", "cnnBackbone.layer4.", "cnnBackbone.smooth")
    assert not [name for name in moved if name.startswith(frozen)]
    for part in ("cnnBackbone.layer5.", "blocks.0.", "char_tokenLearner."):
        assert any(name.startswith(part) for name in moved), part


def test_parts_that_are_frozen_though_random_are_told(tmp_path):
    save_checkpoint(tmp_path / "first.pth", create_model(MODEL))
    start = load_checkpoint(tmp_path / "first.pth")
    larger = preset_config(MODEL, characters=CHARSET_PRESETS["94"])

    def told(config: ModelConfig, start: Checkpoint | None, scope: str) -> str:
        options = get_args("train_final_dist", ["--valid_data", "v", "--freeze", scope])
        lines: list[str] = []
        prepare_model(options, config, start, None, lines.append)
        return "\n".join(lines)

    random = re.compile(r"warning: --freeze keeps \d+ entries random, .*: char_tokenLearner")
    assert random.search(told(larger, start, "heads"))
    assert "entries random" not in told(larger, start, "stem")
    assert "entries random" not in told(start.config, start, "heads")
    assert "entries random" in told(larger, None, "stem")


def test_boxes_that_disagree_are_counted(run, short_run, tmp_path, make_lmdb, encode_image):
    right = b'[["o", 3, 3, 9, 14], ["k", 9, 3, 15, 14]]'
    wrong = b'[["n", 3, 3, 9, 14], ["o", 9, 3, 15, 14]]'
    boxes = {"boxes_000000001": right, "boxes_000000002": wrong}
    make_lmdb(tmp_path / "data/ST", [(encode_image("ok"), "ok")] * 2, **boxes)
    own = ["--train_data", tmp_path / "data", "--select_data", "ST", "--batch_ratio", 1]
    own += ["--is_mask_supervision", "--num_iter", 2, "--valInterval", 2, "--workers", 0]
    shown = run(short_run(tmp_path, MODEL, *own)).stdout
    assert "passed over: " in shown and "record 2: boxes and label disagree" in shown
    counted = re.search(
        r"([0-9]+) times a record was passed over so far, ([0-9]+) of them as", shown
    )
    assert counted and counted[1] == counted[2] != "0"
    named = (tmp_path / "run/passed_over-rank0.txt").read_text(encoding="utf-8").splitlines()
    assert len(named) == int(counted[1]) and all("record 2: boxes" in line for line in named)
