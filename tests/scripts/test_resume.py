"""A run that is killed and resumed ends bit for bit where an undisturbed one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.checkpoint import load_checkpoint
from tools.stress_resume import run_differences

ROOT = Path(__file__).resolve().parents[2]
MODEL = "acds_mgp_str_tiny"
OPTIONS = ["--TransformerModel", MODEL, "--rgb", "--adam", "--lr", "0.001", "--batch_size", "4"]
OPTIONS += ["--select_data", "MJ-ST-synthetic", "--synthetic_packaged_fonts_only"]
OPTIONS += ["--isrand_aug", "--intact_prob", "0.2", "--is_mask_supervision", "--workers", "2"]
# Its draws come from the main process's generator, whose state is to be restored.
OPTIONS += ["--stochastic_depth", "0.3", "--valInterval", "5", "--device", "cpu"]


def command(data_tree, place, *more, launcher=()):
    start = [sys.executable, *launcher, "train_final_dist.py"]
    data = ["--train_data", str(data_tree / "training")]
    data += ["--valid_data", str(data_tree / "evaluation/SVT")]
    return [*start, *data, *OPTIONS, "--saved_path", str(place), "--exp_name", "run", *more]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def finish(*arguments, **named):
    done = subprocess.run(
        command(*arguments, **named),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(*arguments, **named):
    return subprocess.Popen(
        command(*arguments, **named),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(run, file: Path, seconds=240):
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert run.poll() is None, run.stdout.read()
        assert time.monotonic() < deadline, f"no {file}"
        time.sleep(0.02)


def assert_same_run(one: Path, other: Path):
    assert run_differences(one / "run", other / "run") == []


@pytest.fixture(scope="module")
def undisturbed(data_tree, tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed")
    finish(data_tree, place, "--num_iter", "10")
    return place


def test_killed_in_the_middle_it_ends_the_same(data_tree, undisturbed, tmp_path):
    run = start(data_tree, tmp_path, "--num_iter", "10", "--save_interval", "1")
    for kill in range(3):
        place = tmp_path / "run"
        wait_for(run, place / "last.pth" if kill == 0 else place / f"last_{kill + 1}.pth")
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        run.stdout.close()
        more = ["--num_iter", "10", "--save_interval", "1", "--resume", "auto"]
        more += ["--keep_last", str(kill + 2)]
        if kill < 2:
            run = start(data_tree, tmp_path, *more)
    shown = finish(data_tree, tmp_path, *more)
    assert "resuming" in shown
    assert_same_run(undisturbed, tmp_path)


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)]
)
def test_a_signal_ends_it_in_order(data_tree, undisturbed, tmp_path, number, to_all):
    run = start(data_tree, tmp_path, "--num_iter", "10", "--save_interval", "1")
    wait_for(run, tmp_path / "run/last.pth")
    if to_all:  # as a terminal does, and a cluster's scheduler
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    shown = run.communicate(timeout=120)[0]
    assert run.returncode == 0, shown
    assert f"stopped by {number.name}" in shown and "--resume auto" in shown
    reached = load_checkpoint(tmp_path / "run/last.pth").extra["iteration"]
    assert reached < 10
    finish(data_tree, tmp_path, "--num_iter", "10", "--resume", "auto")
    assert_same_run(undisturbed, tmp_path)


def test_a_signal_while_weights_are_scored_loses_nothing(data_tree, undisturbed, tmp_path):
    """The state comes before the scores, which the resumed run finds first."""
    run = start(data_tree, tmp_path, "--num_iter", "10", "--valid_data", data_tree / "evaluation")
    wait_for(run, tmp_path / "run/last.pth")
    run.send_signal(signal.SIGTERM)
    shown = run.communicate(timeout=120)[0]
    assert run.returncode == 0, shown
    assert "stopped by SIGTERM" in shown
    stopped = load_checkpoint(tmp_path / "run/last.pth").extra
    assert stopped["iteration"] == 5 and not stopped["training"]["history"]
    assert not (tmp_path / "run/best_accuracy.pth").exists()
    finish(data_tree, tmp_path, "--num_iter", "10", "--resume", "auto")
    assert_same_run(undisturbed, tmp_path)


def test_resuming_a_finished_run_changes_nothing(data_tree, undisturbed):
    shown = finish(data_tree, undisturbed, "--num_iter", "10", "--resume", "auto")
    assert "after iteration 10" in shown and "done" in shown


def two_ranks(free_port) -> list[str]:
    return ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]


def test_two_ranks_are_killed_and_end_the_same(data_tree, tmp_path, free_port):
    iterations = ["--num_iter", "6", "--save_interval", "1", "--valInterval", "3"]
    finish(data_tree, tmp_path / "whole", *iterations, launcher=two_ranks(free_port))
    place = tmp_path / "killed"
    run = start(data_tree, place, *iterations, launcher=two_ranks(free_port))
    wait_for(run, place / "run/last_2.pth")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    _end_orphans(place)
    more = [*iterations, "--resume", "auto"]
    finish(data_tree, place, *more, launcher=two_ranks(free_port))
    assert_same_run(tmp_path / "whole", place)
    states = load_checkpoint(place / "run/last.pth").extra["training"]
    assert len(states["random"]) == 2
    assert [stream["consumed"] for stream in states["streams"]] == [12, 12, 12]

    # One process goes on where the two were, and says what can't be the same.
    shown = finish(data_tree, place, "--num_iter", "8", "--valInterval", "8", "--resume", "auto")
    assert "2 process(es) before, 1 now" in shown
    states = load_checkpoint(place / "run/last.pth").extra["training"]
    assert [stream["consumed"] for stream in states["streams"]] == [14, 14, 14]


def _end_orphans(place: Path) -> None:
    """Ranks have process groups of their own; a launcher that is killed leaves them running."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(place) in status.read_text():
                os.kill(int(status.parent.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue
