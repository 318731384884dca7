"""Several processes: the same training as one, and an end with an error where one is lost."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from models.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]


def options(data_tree, place, *more):
    return [
        *("--train_data", str(data_tree / "training"), "--rgb", "--workers", "0"),
        *("--valid_data", str(data_tree / "evaluation/SVT"), "--device", "cpu"),
        *("--saved_path", str(place), "--exp_name", "run", *map(str, more)),
    ]


def start(command, port, rank=0, world_size=1):
    own = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    own |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=own | {"MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# Metrics are written every few steps; here, after each.
EVERY_STEP = """
import engine.training
import train_final_dist

engine.training.METRICS_INTERVAL = 1
train_final_dist.main()
"""


def losses_of(metrics: Path) -> list[float]:
    lines = map(json.loads, metrics.read_text(encoding="utf-8").splitlines())
    return [line["train/loss"] for line in lines if "train/loss" in line]


def test_two_ranks_and_accumulation_train_as_one(data_tree, tmp_path, free_port):
    model = ["--TransformerModel", "mgp_str_tiny_patch4_3_32_128", "--num_iter", 5]
    model += ["--batch_max_length", 6]
    ways = {
        "one": (["--batch_size", 8], 1),
        "two": (["--batch_size", 4], 2),
        "accumulated": (["--batch_size", 4, "--accumulate", 2], 1),
    }
    for name, (own, world_size) in ways.items():
        command = ["-c", EVERY_STEP, *options(data_tree, tmp_path / name, *model, *own)]
        port = free_port()
        ranks = [start(command, port, rank, world_size) for rank in range(world_size)]
        shown = [rank.communicate(timeout=280)[0] for rank in ranks]
        assert all(rank.returncode == 0 for rank in ranks), shown
        assert "8 a step" in shown[0]
    losses = {name: losses_of(tmp_path / name / "run/metrics.jsonl") for name in ways}
    for other in ("two", "accumulated"):
        assert losses[other] == pytest.approx(losses["one"], rel=1e-4)
    assert len(losses["one"]) == 5 and len(set(losses["one"])) == 5
    weights = {n: load_checkpoint(tmp_path / n / "run/iter_5.pth").state_dict for n in ways}
    first = load_checkpoint(tmp_path / "one/run/iter_5.pth").state_dict
    for other in ("two", "accumulated"):
        for name, value in first.items():
            difference = torch.linalg.vector_norm((weights[other][name] - value).double())
            assert difference <= 1e-4 * torch.linalg.vector_norm(value.double()) + 1e-7, name


FAULT = """
import os, signal, sys, time
sys.path.insert(0, os.getcwd())
from engine.step import Stepper
import train_final_dist

kind, faulty_rank = sys.argv.pop(1), int(sys.argv.pop(1))
step = Stepper.__call__
taken = 0

def faulty(self, parts, stop=False):
    global taken
    taken += 1
    if taken == 3 and self.process.rank == faulty_rank:
        if kind == "raises":
            raise ValueError("this process has a fault")
        if kind == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1000)
    return step(self, parts, stop)

Stepper.__call__ = faulty
train_final_dist.main()
"""


@pytest.mark.parametrize(
    ("kind", "lost"), [("raises", 1), ("is killed", 1), ("hangs", 1), ("is killed", 0)]
)
def test_a_lost_process_ends_the_other_with_an_error(kind, lost, data_tree, tmp_path, free_port):
    script = tmp_path / "faulty.py"
    script.write_text(FAULT, encoding="utf-8")
    own = ["--TransformerModel", "acds_str_tiny", "--batch_size", 4, "--timeout", "0.25"]
    command = [script, kind, lost, *options(data_tree, tmp_path, *own, "--num_iter", 9)]
    port = free_port()
    ranks = [start(command, port, rank, 2) for rank in range(2)]
    try:
        started = time.monotonic()
        left = ranks[1 - lost]
        shown = left.communicate(timeout=240)[0]
        assert left.returncode == 2, shown
        assert f"Process {1 - lost} lost another one" in shown and "--resume auto" in shown
        assert "Traceback" not in shown
        assert time.monotonic() - started < 200
        if kind == "raises":
            assert "this process has a fault" in ranks[lost].communicate(timeout=60)[0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


LOST = "import os, torch.distributed as d; d.init_process_group('gloo'); os._exit(7)"


def test_a_process_lost_while_scoring_ends_the_other_with_an_error(data_tree, tmp_path, free_port):
    port = free_port()
    scoring = ["test_final.py", "--eval_data", data_tree / "evaluation/SVT", "--timeout", "0.25"]
    scoring += ["--model_dir", "acds_char_str_light", "--results", tmp_path, "--device", "cpu"]
    ranks = [start([*scoring, "--workers", 0], port, 0, 2), start(["-c", LOST], port, 1, 2)]
    try:
        shown = ranks[0].communicate(timeout=240)[0]
        assert ranks[0].returncode == 2, shown
        assert "error: Process 0 lost another one" in shown and "Traceback" not in shown
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
