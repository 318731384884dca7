"""States of a run: written whole, found again, and refused where they don't fit."""

from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from console.progress import RunLog
from engine.distributed import Process
from engine.optimization import Optimization
from engine.option_error import OptionError
from engine.resume_options import check_against_state, check_same_model
from engine.run_folder import RunFolder, RunFolderError
from engine.run_state import RunState, find_state, plain_options, save_state
from models import create_model
from models.checkpoint import CheckpointError, load_checkpoint, load_model, save_checkpoint
from train_final_dist import find_resumed

ALONE = Process(0, 0, 1, torch.device("cpu"))
MODEL = "acds_str_tiny"
OPTIONS = {"lr": None, "freeze": None, "batch_size": 4, "workers": 2, "valid_data": "v"}
OPTIMIZATION = Optimization("sgd", 0.1, iterations=10)
STATE = RunState(
    iteration=1,
    streams=[{"name": "MJ", "identity": "digest", "consumed": 8}],
    best_accuracy=12.5,
    history=[(1, {"char": 12.5})],
    passed_over=3,
    skipped=0,
    optimization=asdict(OPTIMIZATION),
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
    path, _, checkpoint, state = find_state("auto", tmp_path, log)
    assert path == tmp_path / "last.pth" and state.iteration == 4
    assert checkpoint.config == model.config
    assert state.history == [(1, {"char": 12.5})]
    assert torch.equal(state.random[0]["torch"], STATE.random[0]["torch"])
    assert "after iteration 4" in log.shown()
    save(tmp_path, model, 5, keep=1)
    assert find_state("auto", tmp_path, log).state.iteration == 5
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]


def test_a_state_is_a_checkpoint_to_read_with(tmp_path, model):
    save(tmp_path, model, 1)
    assert load_model(tmp_path / "last.pth").config == model.config


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_where_the_newest_is_broken_the_one_before_is_taken(tmp_path, model, log, damage):
    save(tmp_path, model, 1, 2)
    newest = tmp_path / "last.pth"
    newest.write_bytes(damage(newest.read_bytes()))
    path, _, _, state = find_state("auto", tmp_path, log)
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
    assert find_state("auto", tmp_path, log).state.iteration == 1


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("stop", range(4))
def test_stopped_at_any_file_operation_a_good_state_is_found(
    tmp_path, model, log, monkeypatch, keep, stop
):
    save(tmp_path, model, 1, 2, 3, keep=keep)
    operations = []

    def stopping(operation):
        def run(path, *arguments, **named):
            operations.append(path.name)
            if len(operations) == stop + 1:
                raise KeyboardInterrupt
            return operation(path, *arguments, **named)

        return run

    for name in ("replace", "unlink", "rename"):
        monkeypatch.setattr(Path, name, stopping(getattr(Path, name)))
    with suppress(KeyboardInterrupt):
        save(tmp_path, model, 4, keep=keep)
    monkeypatch.undo()
    assert find_state("auto", tmp_path, log).state.iteration in (3, 4)
    save(tmp_path, model, 5, keep=keep)
    assert find_state("auto", tmp_path, log).state.iteration == 5
    assert not list(tmp_path.glob("*.next"))


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
        path, _, _, state = find_state(str(tmp_path / named), tmp_path / "two", log)
        assert (path, state.iteration) == (tmp_path / "one/last.pth", 7)


def check(state=STATE, world_size=1, streams=None, optimization=OPTIMIZATION, **options):
    told = state.options | options
    return check_against_state(told, optimization, world_size, streams or {"MJ": "digest"}, state)


def test_what_a_run_cannot_change_is_refused():
    with pytest.raises(OptionError, match=r"--freeze was None and is \['stem'\] now"):
        check(freeze=["stem"])
    with pytest.raises(OptionError, match=r"lr was 0\.1 and is 0\.2 now"):
        check(lr=0.2, optimization=replace(OPTIMIZATION, lr=0.2))


def test_an_option_that_says_its_default_is_no_change():
    assert check(lr=0.1) == []
    assert check(workers=5) == []


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_a_schedule_that_ends_with_the_run_fixes_its_length(schedule):
    before = replace(OPTIMIZATION, schedule=schedule)
    state = replace(STATE, optimization=asdict(before))
    with pytest.raises(OptionError, match="num_iter was 10 and is 20"):
        check(state, optimization=replace(before, iterations=20))
    longer = replace(OPTIMIZATION, iterations=20)
    (note,) = check(optimization=longer)
    assert "--num_iter, now 20" in note
    with pytest.raises(OptionError, match=r"midst: lr was 0\.1 and is 0\.2 now"):
        check(optimization=replace(longer, lr=0.2))


def test_what_cannot_be_exact_is_told():
    (batch,) = check(batch_size=5)
    assert "--batch_size, 4 before, 5 now" in batch
    size, ranks = check(world_size=2, streams={"MJ": "another"})
    assert "MJ is not the same any more" in size
    assert "1 process(es) before, 2 now" in ranks
    (changed,) = check(valid_data="other")
    assert "--valid_data, v before" in changed


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


@pytest.mark.parametrize("name", ["last.pth", "last_2.pth", "iter_5.pth", "best_accuracy.pth"])
def test_a_folder_with_weights_is_not_begun_anew(tmp_path, name):
    folder = RunFolder(tmp_path, "run")
    folder.refuse_weights()
    (folder.path / name).write_bytes(b"")
    with pytest.raises(RunFolderError, match="would overwrite") as refused:
        folder.refuse_weights()
    assert ("--resume auto" in str(refused.value)) == name.startswith("last")


def test_a_run_is_begun_anew_where_one_was_killed_before_its_first_state(tmp_path, log):
    folder = RunFolder(tmp_path, "run")
    (folder.path / "last.pth.next.partial").write_bytes(b"")

    def resumed(resume):
        return find_resumed(Namespace(resume=resume), None, None, [], folder, ALONE, log)

    assert resumed("auto") is None
    assert "starting afresh" in log.shown()
    # The first state comes before any weights: where it is gone, somebody took it away.
    (folder.path / "best_accuracy.pth").write_bytes(b"")
    for resume in ("auto", None):
        with pytest.raises(RunFolderError, match="would overwrite"):
            resumed(resume)


def test_paths_in_options_are_kept_as_text(tmp_path):
    assert plain_options({"fonts": [tmp_path], "lr": 1.0}) == {"fonts": [str(tmp_path)], "lr": 1.0}


@pytest.mark.parametrize(
    ("changes", "told"),
    [({}, {"char": 12.5}), ({"iteration": 2}, {}), ({"average": {"updates": 1, "model": {}}}, {})],
)
def test_a_state_has_the_accuracy_of_its_own_weights(tmp_path, model, changes, told):
    save_state(tmp_path, model, replace(STATE, **changes), keep=1)
    assert load_checkpoint(tmp_path / "last.pth").extra["accuracy"] == told
