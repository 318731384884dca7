"""The training script on a GPU: launched as the README says, stopped, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
TRAINING = [
    *("train_final_dist.py", "--rgb", "--TransformerModel", "mgp_str_mini_stem8x8_3_32_128"),
    *("--batch_size", "32", "--amp", "bf16", "--workers", "2"),
    *("--save_interval", "10", "--valInterval", "20"),
    *("--isrand_aug", "--exp_name", "run", "--resume", "auto"),
]


def training(data_tree, place, iterations):
    data = ["--train_data", data_tree / "training", "--valid_data", data_tree / "evaluation/SVT"]
    return [*TRAINING, *map(str, [*data, "--saved_path", place, "--num_iter", iterations])]


def launched(data_tree, place, iterations):
    command = [sys.executable, *LAUNCHER, *training(data_tree, place, iterations)]
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


def test_a_compiled_run_that_is_timed_out_saves_its_state(data_tree, tmp_path):
    command = [sys.executable, *training(data_tree, tmp_path, 10**6), "--compile"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as run:
        metrics = tmp_path / "run/metrics.jsonl"
        until = time.monotonic() + 240
        while not (metrics.is_file() and losses(tmp_path)) and time.monotonic() < until:
            time.sleep(0.5)
        # As `timeout` does: the command, and then its group.
        os.kill(run.pid, signal.SIGTERM)
        os.killpg(run.pid, signal.SIGTERM)
        shown = run.communicate(timeout=60)[0].decode()
    assert run.returncode == 0 and "stopped by SIGTERM" in shown
    assert (tmp_path / "run/last.pth").is_file()
