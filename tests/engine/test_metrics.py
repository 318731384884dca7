"""Numbers and pictures reach every place that was asked for."""

import json
import math
import sys
from types import SimpleNamespace

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.metrics import Metrics, MissingPackageError
from engine.run_folder import RunFolder


def test_numbers_and_pictures_are_kept(tmp_path):
    folder = RunFolder(tmp_path, "run")
    metrics = Metrics(folder)
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
        metrics = Metrics(folder, first)
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
    metrics = Metrics(RunFolder(tmp_path, "my run"), 0, "words", {"lr": 1.0})
    metrics.write(10, {"train/loss": 2.5})
    metrics.show(10, "validation/1", Image.new("RGB", (40, 20)))
    metrics.close()
    settings, *rest = stand_in.told
    assert settings["project"] == "words" and settings["id"] == "my-run"
    assert settings["config"] == {"lr": 1.0} and settings["resume"] == "allow"
    assert rest == [
        (10, {"train/loss": 2.5}),
        (10, {"validation/1": ("picture", (40, 20))}),
        "finished",
    ]


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match="pip install wandb"):
        Metrics(RunFolder(tmp_path, "run"), 0, "words")
