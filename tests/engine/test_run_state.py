"""States of a run: written whole, found again, and refused where they don't fit."""

from dataclasses import replace

import pytest
import torch

from engine.options import OptionError, check_against_state, check_same_model
from engine.progress import RunLog
from engine.run_folder import RunFolder, RunFolderError
from engine.run_state import RunState, find_state, plain_options, save_state, state_path
from models import create_model
from models.checkpoint import CheckpointError, load_model, save_checkpoint

MODEL = "acds_str_tiny"
OPTIONS = {"lr": 0.1, "num_iter": 10, "schedule": None, "batch_size": 4, "workers": 2}
STATE = RunState(
    iteration=1,
    streams=[{"name": "MJ", "size": 30, "consumed": 8}],
    best_accuracy=12.5,
    history=[(1, {"char": 12.5})],
    passed_over=3,
    skipped=0,
    optimizer={"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    schedule={"last_epoch": 1},
    scaler={},
    random=[{"torch": torch.get_rng_state()}],
    options=OPTIONS,
)


@pytest.fixture(scope="module")
def model():
    return create_model(MODEL)


@pytest.fixture
def log(capsys):
    log = RunLog()
    log.shown = lambda: capsys.readouterr().out
    return log


def save(folder, model, *iterations, keep=2):
    for iteration in iterations:
        save_state(folder, model, replace(STATE, iteration=iteration), keep)


def test_the_last_ones_are_kept_and_the_newest_is_found(tmp_path, model, log):
    save(tmp_path, model, 1, 2, 3, 4, keep=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pth", "last_2.pth", "last_3.pth"]
    path, checkpoint, state = find_state("auto", tmp_path, log)
    assert path == tmp_path / "last.pth" and state.iteration == 4
    assert checkpoint.config == model.config
    assert state.best_accuracy == 12.5 and state.history == [(1, {"char": 12.5})]
    assert torch.equal(state.random[0]["torch"], STATE.random[0]["torch"])
    assert "after iteration 4" in log.shown()
    save(tmp_path, model, 5, keep=1)
    assert find_state("auto", tmp_path, log)[2].iteration == 5


def test_a_state_is_a_checkpoint_to_read_with(tmp_path, model):
    save(tmp_path, model, 1)
    assert load_model(tmp_path / "last.pth").config == model.config


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_where_the_newest_is_broken_the_one_before_is_taken(tmp_path, model, log, damage):
    save(tmp_path, model, 1, 2)
    newest = tmp_path / "last.pth"
    newest.write_bytes(damage(newest.read_bytes()))
    path, _, state = find_state("auto", tmp_path, log)
    assert (path.name, state.iteration) == ("last_2.pth", 1)
    assert "can't resume from last.pth" in log.shown()
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"No state in .* can be resumed"):
        find_state("auto", tmp_path, log)


def test_a_disk_that_is_full_leaves_the_old_one_good(tmp_path, model, log, monkeypatch):
    save(tmp_path, model, 1)

    def full(contents, file):
        file.write(b"the beginning")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, model, 2)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]
    assert find_state("auto", tmp_path, log)[2].iteration == 1


def test_killed_between_two_renames_it_is_found(tmp_path, model, log):
    save(tmp_path, model, 1)
    state_path(tmp_path, 1).replace(state_path(tmp_path, 2))
    assert find_state("auto", tmp_path, log)[2].iteration == 1


def test_nothing_to_resume_is_said(tmp_path, model, log):
    assert find_state("auto", tmp_path / "none", log) is None
    assert "starting afresh" in log.shown()
    with pytest.raises(CheckpointError, match=r"no last\.pth to resume"):
        find_state(str(tmp_path), tmp_path, log)
    save_checkpoint(tmp_path / "weights.pth", model, iteration=3)
    with pytest.raises(CheckpointError, match="use --saved_model"):
        find_state(str(tmp_path / "weights.pth"), tmp_path, log)


def test_another_runs_folder_or_file_can_be_named(tmp_path, model, log):
    (tmp_path / "one").mkdir()
    save(tmp_path / "one", model, 7)
    for named in ("one", "one/last.pth"):
        path, _, state = find_state(str(tmp_path / named), tmp_path / "two", log)
        assert (path, state.iteration) == (tmp_path / "one/last.pth", 7)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"lr": 0.2}, "--lr was 0.1 and is 0.2"), ({"schedule": "cosine"}, "--schedule was None")],
)
def test_what_a_run_cannot_change_is_refused(change, named):
    with pytest.raises(OptionError, match=named):
        check_against_state(OPTIONS | change, 1, {"MJ": 30}, STATE)


def test_a_schedule_that_ends_with_the_run_fixes_its_length():
    cosine = replace(STATE, options=OPTIONS | {"schedule": "cosine"})
    with pytest.raises(OptionError, match="--num_iter was 10 and is 20"):
        check_against_state(cosine.options | {"num_iter": 20}, 1, {"MJ": 30}, cosine)
    (note,) = check_against_state(OPTIONS | {"num_iter": 20}, 1, {"MJ": 30}, STATE)
    assert "--num_iter, 10 before, 20 now" in note


def test_what_cannot_be_exact_is_told():
    assert check_against_state(OPTIONS | {"workers": 5}, 1, {"MJ": 30}, STATE) == []
    (batch,) = check_against_state(OPTIONS | {"batch_size": 5}, 1, {"MJ": 30}, STATE)
    assert "--batch_size, 4 before, 5 now" in batch
    size, ranks = check_against_state(OPTIONS, 2, {"MJ": 31}, STATE)
    assert "MJ had 30 usable records, and has 31 now" in size
    assert "1 process(es) before, 2 now" in ranks


def test_another_model_is_refused(model):
    other = create_model(MODEL, max_length=30).config
    with pytest.raises(OptionError, match="max_length was 25 and is 30"):
        check_same_model(model.config, other, "last.pth")
    check_same_model(model.config, model.config, "last.pth")


def test_a_folder_has_one_run_at_a_time(tmp_path):
    first = RunFolder(tmp_path, "run")
    first.lock()
    with pytest.raises(RunFolderError, match="Another run is writing"):
        RunFolder(tmp_path, "run").lock()
    del first
    RunFolder(tmp_path, "run").lock()


def test_paths_in_options_are_kept_as_text(tmp_path):
    assert plain_options({"fonts": [tmp_path], "lr": 1.0}) == {"fonts": [str(tmp_path)], "lr": 1.0}
