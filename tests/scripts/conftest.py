"""A copy of the repository's top level in which the scripts run, with small data and weights."""

import os
import pickle
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from models import create_model
from models.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]


def official_weights(name: str, attribute: str = "mgp_str") -> dict[str, torch.Tensor]:
    """A state dict as the official code saves it."""
    state = create_model(name).state_dict()
    return {f"module.{attribute}.{key}": value for key, value in state.items()}


@pytest.fixture(scope="session")
def place_with_data(tmp_path_factory, data_tree, encode_image, make_lmdb) -> Path:
    """Folder from which the README's commands run as they are written."""
    place = tmp_path_factory.mktemp("data")
    for entry in ROOT.iterdir():
        if entry.name not in ("data", "demo_imgs", "saved_models", "results", "quickstart"):
            (place / entry.name).symlink_to(entry)
    (place / "data").symlink_to(data_tree)
    (place / "demo_imgs").mkdir()
    for image in (ROOT / "demo_imgs").glob("*.jpg"):
        (place / "demo_imgs" / image.name).write_bytes(image.read_bytes())
    (place / "my_words").mkdir()
    (place / "my_words" / "one.png").write_bytes(encode_image("one"))
    (place / "my_words" / "gt.txt").write_text("one.png\tone\nnone.png\tnone\n", encoding="utf-8")
    label = pickle.dumps({"[[3, 3], [9, 14]]": "o", "[[9, 3], [15, 14]]": "k", "word": "ok"})
    make_lmdb(place / "reconstituted_ST", [(encode_image("ok"), label)])
    torch.manual_seed(0)
    torch.save(official_weights("mgp_str_base_patch4_3_32_128"), place / "mgp_str_base.pth")
    torch.save(official_weights("acds_str_base", "acds_str"), place / "acds_str_base.pth")
    # What the first of two stages leaves.
    first_stage = place / "saved_models/acds_str_manual/best_accuracy.pth"
    first_stage.parent.mkdir(parents=True)
    first_stage.symlink_to(place / "acds_str_base.pth")
    save_checkpoint(place / "best_accuracy.pth", create_model("mgp_str_mini_stem8x8_3_32_128"))
    return place


def training(data_tree: Path, place: Path, model: str, *more: object) -> str:
    """The command of a short run of its own, in the folder `run` below a place."""
    options = {
        "--train_data": data_tree / "training",
        "--valid_data": data_tree / "evaluation/SVT",
        "--TransformerModel": model,
        "--batch_size": 4,
        "--workers": 1,
        "--saved_path": place,
        "--exp_name": "run",
    }
    words = [str(word) for pair in options.items() for word in pair]
    return " ".join(["python3 train_final_dist.py --rgb", *words, *map(str, more)])


@pytest.fixture
def short_run(data_tree):
    """Makes the command of a short run: (place, model, more options)."""
    return partial(training, data_tree)


@pytest.fixture(scope="session")
def run_as_written(place_with_data, free_port):
    """Runs a command in the folder with data; the environment has this Python first.

    A `--master_port` is replaced: another run may be using the one that is written.
    """

    def run_command(
        command: str, ok: bool = True, **environment: str
    ) -> subprocess.CompletedProcess:
        command = re.sub(r"--master_port[ =]\d+", f"--master_port={free_port()}", command)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Of two processes on two cores, two threads each would wait for one another.
        threads = "1" if "--nproc_per_node=2" in command else "2"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=place_with_data,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": threads, **environment},
        )
        if ok:
            assert_done(command, done)
        return done

    return run_command


@pytest.fixture(scope="session")
def run(run_as_written, place_with_data, script_forks, tmp_path_factory):
    """As `run_as_written`; a script alone runs in a fork, without waiting for its imports."""
    output = tmp_path_factory.mktemp("output")
    with script_forks.ScriptForks(ROOT) as forks:

        def run_command(
            command: str, ok: bool = True, **environment: str
        ) -> subprocess.CompletedProcess:
            script = re.fullmatch(r"python3 (\w+\.py [^;&|<>$`\n]*)", command)
            if script is None or environment:
                return run_as_written(command, ok, **environment)
            done = forks.run(shlex.split(script[1]), place_with_data, output)
            if ok:
                assert_done(command, done)
            return done

        yield run_command


def assert_done(command: str, done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
