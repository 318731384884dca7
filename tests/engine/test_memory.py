"""Out of memory, by injection: the message tells the batch that would fit."""

import itertools
import time
from types import SimpleNamespace

import pytest
import torch

from console.progress import RunLog
from dataset import Batch
from engine.distributed import Process
from engine.memory import BatchTooLargeError, fitting_batch
from engine.optimization import Optimization
from engine.run_context import RunContext
from engine.run_folder import RunFolder
from engine.training import Plan, Trainer
from models import config_codecs, create_model

ALONE = Process(0, 0, 1, torch.device("cpu"))
SEVERAL = Process(0, 0, 2, torch.device("cpu"))


@pytest.fixture
def limited():
    """A model that runs out of memory beyond some images, in its backward pass."""

    def make(most: int):
        model = create_model("mgp_str_mini_stem8x8_3_32_128").train()
        forward = model.forward

        class TooMuch(torch.autograd.Function):
            @staticmethod
            def forward(ctx, value):
                return value.clone()

            @staticmethod
            def backward(ctx, gradient):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        def limited_forward(images, targets=None):
            losses = forward(images, targets)
            if len(images) > most:
                char = losses["char_loss"]
                losses["char_loss"] = type(char)(TooMuch.apply(char.total), char.count)
            return losses

        model.forward = limited_forward
        return model

    return make


def batch(model, number):
    codecs = config_codecs(model.config)
    texts = ["word"] * number
    targets = {n: torch.from_numpy(c.encode_batch(texts)) for n, c in codecs.items()}
    return torch.rand(number, 3, 32, 128), targets


def loaded(model, number):
    """The same as the loader gives it."""
    images, ids = batch(model, number)
    return Batch((images * 255).to(torch.uint8), ["word"] * number, [], ids=ids)


@pytest.mark.parametrize(("most", "fits"), [(7, 4), (4, 4), (1, 1), (0, 0)])
def test_the_batch_that_fits_is_found(limited, most, fits):
    model = limited(most)
    assert fitting_batch(model, *batch(model, 16), None) == fits


@pytest.mark.parametrize(
    ("process", "cure"),
    [(ALONE, "use --batch_size 4"), (SEVERAL, "use --batch_size 4 in each process")],
)
def test_a_run_ends_with_the_cure(limited, tmp_path, monkeypatch, process, cure):
    model = limited(5)
    monkeypatch.setattr(Process, "total", lambda _, values: values)
    folder, log = RunFolder(tmp_path, "run"), RunLog(enabled=False)
    plan = Plan(Optimization(), validation_interval=1, save_interval=1)
    trainer = Trainer(model, model, plan, None, RunContext(process, folder, log))
    with pytest.raises(BatchTooLargeError, match=r"a step of 16 images \(CUDA out of memory") as e:
        trainer._take_step([loaded(model, 16)], False)
    assert cure in str(e.value)
    assert not trainer._take_step([loaded(model, 4)], False).skipped


def test_a_batch_that_does_not_even_get_onto_the_device_ends_a_run_in_words(
    limited, tmp_path, monkeypatch
):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model = limited(5)
    monkeypatch.setattr("engine.training.to_device", full)
    plan = Plan(Optimization(), validation_interval=1, save_interval=1)
    folder, log = RunFolder(tmp_path, "run"), RunLog(enabled=False)
    trainer = Trainer(model, model, plan, None, RunContext(ALONE, folder, log))
    with pytest.raises(BatchTooLargeError, match="a step of 16 images"):
        trainer._take_step([loaded(model, 16)], False)


def test_a_rehearsal_tells_how_fast_data_are_made_not_what_lies_ready(
    limited, tmp_path, monkeypatch
):
    model = limited(8)
    plan = Plan(Optimization(), validation_interval=1, save_interval=1)
    folder, log = RunFolder(tmp_path, "run"), RunLog(enabled=False)
    trainer = Trainer(model, model, plan, None, RunContext(ALONE, folder, log))

    def drawn(_):
        for number in itertools.count(1):
            if number > 3 + 2:  # those of the steps, and what one worker has made ahead meanwhile
                time.sleep(0.3)
            yield [loaded(model, 4)]

    monkeypatch.setattr(trainer, "_draws", drawn)
    sampler = SimpleNamespace(counts=[4])
    loader = SimpleNamespace(num_workers=1, prefetch_factor=2, batch_sampler=sampler)
    step, data = trainer.rehearse(loader)
    assert step > 0 and data >= 0.3
