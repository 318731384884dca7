"""The sample data tool: the README's tree, the same whatever --jobs is, never over other files."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from records.benchmarks import EIGHT
from tools.make_sample_data import main

ROOT = Path(__file__).resolve().parents[2]
COUNTS = ["--train=12", "--st=8", "--valid=3", "--evaluation=2"]
SMALL = [*COUNTS, "--seed=3", "--packaged_fonts_only"]
FOLDERS = {f"training/{name}" for name in ("MJ/MJ_train", "MJ/MJ_valid", "MJ/MJ_test", "ST")} | {
    f"evaluation/{name}" for name in EIGHT
}


def read(folder):
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def read_tree(root):
    places = [path.parent for path in root.rglob("data.mdb")]
    return {place.relative_to(root).as_posix(): read(place) for place in places}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "tree"
    assert main([str(out), "--jobs", "1", *SMALL]) == 0
    return out


def test_the_tree_is_complete(tree):
    records = read_tree(tree)
    assert set(records) == FOLDERS
    assert {path.name for path in tree.iterdir()} == {"training", "evaluation", "sample_data.json"}
    counts = {folder: int(keys[b"num-samples"]) for folder, keys in records.items()}
    assert counts.pop("training/MJ/MJ_train") == 12
    assert counts.pop("training/ST") == 8
    assert counts.pop("training/MJ/MJ_valid") == counts.pop("training/MJ/MJ_test") == 3
    assert set(counts.values()) == {2}


def test_every_record_is_an_image_with_a_label(tree):
    pictures = []
    for folder, keys in read_tree(tree).items():
        for number in range(1, int(keys[b"num-samples"]) + 1):
            data = keys[b"image-%09d" % number]
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            label = keys[b"label-%09d" % number].decode("utf-8")
            assert re.fullmatch("[0-9A-Za-z]{1,5}", label)
            pictures.append(data)
            boxes = keys.get(b"boxes-%09d" % number)
            assert (boxes is not None) == (folder == "training/ST")
            if boxes is not None:
                boxes = json.loads(boxes)
                assert "".join(char for char, *_ in boxes) == label
                edges = np.array([box[1:] for box in boxes])
                assert edges.min() >= 0
                assert edges[:, 2].max() <= image.shape[1]
                assert edges[:, 3].max() <= image.shape[0]
    assert len(set(pictures)) == len(pictures)  # no sample is in two sets


def test_every_set_is_marked_as_a_stand_in(tree):
    for folder, keys in read_tree(tree).items():
        mark = json.loads(keys[b"stand-in"])
        assert mark["level"] == "easy"
        assert mark["seed"] == 3
        assert "make_sample_data" in mark["generator"]
        assert f"not the real {folder.rsplit('/', 1)[-1]}" in mark["note"]


def test_more_processes_give_the_same_records(tree, tmp_path):
    command = [sys.executable, "tools/make_sample_data.py", str(tmp_path / "two"), "--jobs", "2"]
    done = subprocess.run([*command, *SMALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "with 2 processes" in done.stdout
    assert read_tree(tmp_path / "two") == read_tree(tree)


def test_a_second_run_finds_it_there(tree, capsys):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert main([str(tree), "--jobs", "1", *SMALL]) == 0
    assert "already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


def test_other_settings_are_refused_unless_forced(tree, capsys):
    before = read_tree(tree)
    other = [str(tree), "--jobs", "1", *SMALL, "--seed", "4"]
    assert main(other) == 2
    assert "--force" in capsys.readouterr().err
    assert read_tree(tree) == before
    assert main([*other, "--force"]) == 0
    assert read_tree(tree) != before
    assert set(read_tree(tree)) == FOLDERS
    assert main([str(tree), "--jobs", "1", *SMALL, "--force"]) == 0
    assert read_tree(tree) == before


def test_data_that_were_replaced_in_part_are_not_taken_for_the_new(tmp_path, monkeypatch):
    arguments = [str(tmp_path / "tree"), "--jobs", "1", *SMALL]
    assert main(arguments) == 0
    new = [*arguments, "--seed", "4"]
    remove = shutil.rmtree

    def killed(folder, **settings):
        if folder == tmp_path / "tree/evaluation":
            raise OSError("killed")
        remove(folder, **settings)

    monkeypatch.setattr(shutil, "rmtree", killed)
    assert main([*new, "--force"]) == 2
    monkeypatch.undo()
    assert main(new) == 2 and main(arguments) == 2  # of neither settings
    assert main([*new, "--force"]) == 0
    assert main(new) == 0


def test_a_link_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    arguments = [str(tmp_path / "tree"), "--jobs", "1", *SMALL]
    assert main(arguments) == 0
    (tmp_path / "tree/training").rename(tmp_path / "elsewhere")
    (tmp_path / "tree/training").symlink_to(tmp_path / "elsewhere")
    assert main([*arguments, "--seed", "4", "--force"]) == 0
    assert not (tmp_path / "tree/training").is_symlink()
    assert (tmp_path / "elsewhere/ST/data.mdb").is_file()


def test_foreign_files_are_kept(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    assert main([str(tmp_path), "--jobs", "1", *SMALL]) == 0
    assert (tmp_path / "README.md").read_text() == "mine"
    assert set(read_tree(tmp_path)) == FOLDERS


def test_real_data_is_never_replaced(tmp_path, capsys):
    real = tmp_path / "training" / "MJ" / "data.mdb"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    assert main([str(tmp_path), "--jobs", "1", *SMALL, "--force"]) == 2
    assert "not made by this tool" in capsys.readouterr().err
    assert real.read_bytes() == b"real"


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.make_sample_data.move_into_place", stop)
    with pytest.raises(SystemExit, match="130"):
        main([str(tmp_path / "tree"), "--jobs", "1", *SMALL])
    assert not list(tmp_path.iterdir())


def test_a_missing_font_folder_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "tree"), "--fonts", str(tmp_path / "none"), *SMALL]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_folder_of_another_s_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.partial").mkdir()
    (tmp_path / "mine.partial/thesis.txt").write_text("years")
    assert main([str(tmp_path / "mine"), "--jobs", "1", *SMALL]) == 2
    assert "nothing of an interrupted command" in capsys.readouterr().err
    assert (tmp_path / "mine.partial/thesis.txt").read_text() == "years"


def test_a_place_that_can_not_be_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file/data"), "--jobs", "1", *SMALL]) == 2
    assert "error: " in capsys.readouterr().err
