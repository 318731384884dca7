"""Numbers and pictures reach every place that was asked for."""

import errno
import io
import json
import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from console.progress import RunLog
from engine.metrics import Metrics, MissingPackageError
from engine.run_folder import RunFolder

LOG = RunLog(enabled=False)
FULL = Path("/dev/full")  # Linux: can be opened, and takes nothing
needs_full_device = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


def test_numbers_and_pictures_are_kept(tmp_path):
    folder = RunFolder(tmp_path, "run")
    metrics = Metrics(folder, LOG)
    metrics.write(10, {"train/loss": 2.5, "train/gradient_norm": math.nan})
    metrics.show(10, "validation/1", Image.new("RGB", (40, 20), "red"))
    metrics.close()
    line = json.loads(folder.metrics.read_text(encoding="utf-8"))
    assert line == {"iteration": 10, "train/loss": 2.5, "train/gradient_norm": None}
    board = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [(10, 2.5)]
    (picture,) = board.Images("validation/1")
    assert (picture.width, picture.height) == (40, 20)


def test_what_an_interrupted_run_drew_beyond_its_state_is_drawn_again(tmp_path):
    folder = RunFolder(tmp_path, "run")
    for first, value in ((0, 1.0), (10, 2.0)):
        metrics = Metrics(folder, LOG, first)
        for iteration in (10, 20) if first == 0 else (20,):
            metrics.write(iteration, {"train/loss": value})
        metrics.close()
    board = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [(10, 1.0), (20, 2.0)]


class StandIn(SimpleNamespace):
    """The part of the wandb package that is used, writing down what it is told."""

    def __init__(self):
        super().__init__(told=[], Image=lambda picture: ("picture", picture.size))

    def init(self, **settings):
        self.told.append(settings)
        return self

    def log(self, found, step):
        self.told.append((step, found))

    def finish(self):
        self.told.append("finished")


def test_weights_and_biases_is_told_too(tmp_path, monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    metrics = Metrics(RunFolder(tmp_path, "my run"), LOG, 0, "words", {"lr": 1.0})
    metrics.write(10, {"train/loss": 2.5})
    metrics.show(10, "validation/1", Image.new("RGB", (40, 20)))
    metrics.close()
    settings, *rest = stand_in.told
    assert (settings["project"], settings["name"]) == ("words", "my run")
    assert settings["config"] == {"lr": 1.0} and settings["resume"] == "allow"
    assert rest == [
        (10, {"train/loss": 2.5}),
        (10, {"validation/1": ("picture", (40, 20))}),
        "finished",
    ]


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match="pip install wandb"):
        Metrics(RunFolder(tmp_path, "run"), LOG, 0, "words")


@needs_full_device
def test_a_full_disk_ends_no_run(tmp_path, capsys):
    folder = RunFolder(tmp_path, "run")
    folder.metrics.symlink_to(FULL)
    metrics = Metrics(folder, RunLog())
    for iteration in (1, 2):
        metrics.write(iteration, {"train/loss": 2.5})
    metrics.close()
    told = capsys.readouterr().out
    assert told.count(f"{folder.metrics} can't be written ([Errno 28] No space left") == 1
    # The other place has them all.
    board = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2]


# Its own thread fails, as it does on a full disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_that_can_not_write_ends_no_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    folder, told = RunFolder(tmp_path, "run"), []
    metrics = Metrics(folder, told.append)
    monkeypatch.setattr(RecordWriter, "write", full)
    written = 0
    while not told and written < 1000:
        metrics.write(written, {"train/loss": 2.5})
        written += 1
        time.sleep(0.01)
    metrics.show(written, "validation/1", Image.new("RGB", (40, 20)))
    metrics.close()
    assert len(told) == 1 and "TensorBoard's events can't be written" in told[0]
    assert len(folder.metrics.read_text(encoding="utf-8").splitlines()) == written


def test_lines_that_a_log_does_not_take_wait(tmp_path, capsys):
    place = tmp_path / "run"
    log = RunLog(place / "log.txt")
    log("first")
    place.rename(tmp_path / "away")
    place.write_text("no folder", encoding="utf-8")
    log("second")
    log("third")
    told = capsys.readouterr().out
    assert told.count("log.txt can't be written now") == 1
    assert "second" in told and "third" in told
    place.unlink()
    (tmp_path / "away").rename(place)
    log("fourth")
    lines = (place / "log.txt").read_text(encoding="utf-8").split()
    assert lines == ["first", "second", "third", "fourth"]


def test_a_log_that_can_not_be_begun_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(OSError, match="file"):
        RunLog(tmp_path / "file/log.txt")("first")


def test_output_into_a_full_disk_ends_nothing(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    RunLog(tmp_path / "log.txt")("a line")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "a line\n"


def test_a_network_that_fails_ends_no_run(tmp_path, monkeypatch):
    class Failing(StandIn):
        def log(self, found, step):
            raise RuntimeError("network is down")

    monkeypatch.setitem(sys.modules, "wandb", Failing())
    told = []
    metrics = Metrics(RunFolder(tmp_path, "run"), told.append, 0, "words")
    for iteration in (1, 2):
        metrics.write(iteration, {"train/loss": 2.5})
    metrics.show(2, "validation/1", Image.new("RGB", (40, 20)))
    metrics.close()
    assert len(told) == 1 and "Weights & Biases" in told[0] and "network is down" in told[0]


def test_runs_of_one_name_are_told_apart_and_a_resumed_one_goes_on(tmp_path, monkeypatch):
    def identity(place):
        stand_in = StandIn()
        monkeypatch.setitem(sys.modules, "wandb", stand_in)
        Metrics(RunFolder(place, "run"), LOG, 0, "words").close()
        return stand_in.told[0]["id"]

    first = identity(tmp_path / "a")
    assert identity(tmp_path / "a") == first != identity(tmp_path / "b")
