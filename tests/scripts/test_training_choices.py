"""Options that change how a run goes: rehearsed, averaged, accumulated, scored on other sets."""

import json

import torch

from models.checkpoint import load_checkpoint
from tools.stress_resume import run_differences

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
