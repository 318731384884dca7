"""The training script on a GPU: launched as the README says, and gone on with."""

import json
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [
    *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "train_final_dist.py"),
    *("--rgb", "--TransformerModel", "mgp_str_mini_stem8x8_3_32_128", "--batch_size", "32"),
    *("--amp", "bf16", "--workers", "2", "--save_interval", "10", "--valInterval", "20"),
    *("--isrand_aug", "--exp_name", "run", "--resume", "auto"),
]


def launched(data_tree, place, iterations):
    data = ["--train_data", data_tree / "training", "--valid_data", data_tree / "evaluation/SVT"]
    more = [*data, "--saved_path", place, "--num_iter", iterations]
    command = [sys.executable, *COMMAND, *map(str, more)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(place):
    lines = (place / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return {f["iteration"]: f["train/loss"] for f in found if "train/loss" in f}


def test_a_run_goes_on_where_it_was(data_tree, tmp_path):
    at_once, resumed = tmp_path / "at_once", tmp_path / "resumed"
    shown = launched(data_tree, at_once, 20)
    assert torch.cuda.get_device_name() in shown
    launched(data_tree, resumed, 10)
    assert "resuming" in launched(data_tree, resumed, 20)
    whole, parts = losses(at_once), losses(resumed)
    assert set(whole) == set(parts) == {10, 20}
    for iteration, loss in whole.items():
        assert abs(parts[iteration] - loss) <= 0.02 * loss
