"""Out of memory, by injection: the message tells the batch that would fit."""

import pytest
import torch

from engine.distributed import Process
from engine.memory import BatchTooLargeError, fitting_batch
from engine.optimization import Optimization
from engine.run_folder import RunFolder
from engine.training import Plan, Trainer
from models import config_codecs, create_model
from progress import RunLog

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
    plan = Plan(Optimization(), validation_interval=1)
    trainer = Trainer(model, model, plan, None, process, folder, log)
    with pytest.raises(BatchTooLargeError, match=r"a step of 16 images \(CUDA out of memory") as e:
        trainer._take_step([batch(model, 16)], False)
    assert cure in str(e.value)
    assert not trainer._take_step([batch(model, 4)], False).skipped
