"""Which states a trainer keeps: none is given up for one in which nothing was learned."""

from types import SimpleNamespace

import pytest
import torch

from console.progress import RunLog
from engine.distributed import Process
from engine.optimization import Optimization
from engine.run_context import RunContext
from engine.run_folder import RunFolder
from engine.run_state import find_state
from engine.step import StepResult
from engine.training import NonFiniteLossError, Plan, Trainer
from models import create_model

ALONE = Process(0, 0, 1, torch.device("cpu"))
SCORES = SimpleNamespace(best_accuracy=-1.0, history=[], identity=[])


class Loader:
    """What a trainer asks of its loader when it saves."""

    batch_sampler = SimpleNamespace(consumed_after=lambda batches: [batches])
    dataset = SimpleNamespace(
        sources=[SimpleNamespace(name="MJ", identity="digest")], name_of=lambda record: record
    )


@pytest.fixture
def start(tmp_path):
    """Starts a trainer of the folder, from its beginning or from a state."""
    model = create_model("mgp_str_mini_stem8x8_3_32_128")
    log = RunLog(enabled=False)
    plan = Plan(Optimization(), validation_interval=9, save_interval=9, most_skipped=2)

    def trainer(resumed=None):
        run = RunContext(ALONE, RunFolder(tmp_path, "run"), log)
        return Trainer(model, model, plan, SCORES, run, {}, resumed)

    return trainer


def step(trainer, skipped: bool) -> StepResult:
    """A step that changes nothing, learned or skipped."""
    loss = float("nan") if skipped else 1.0
    result = StepResult({}, loss, loss, 0.1, skipped, False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "_step", lambda *_: result)
        return trainer._take_step([], stop=False)


def states(folder) -> dict[str, int]:
    """Iterations of the states by their file's name."""
    log = RunLog(enabled=False)
    files = folder.glob("last*.pth")
    return {p.name: find_state(str(p), folder, log).state.iteration for p in files}


def test_a_run_that_diverges_again_and_again_keeps_the_state_before(start, tmp_path):
    trainer, folder = start(), tmp_path / "run"
    for iteration in (1, 2):
        step(trainer, skipped=False)
        assert trainer._save(iteration, Loader)
    assert states(folder) == {"last.pth": 2, "last_2.pth": 1}
    for start_after in (2, 4):  # each start ends for its losses
        trainer = start(find_state("auto", folder, RunLog(enabled=False)))
        assert trainer.first == start_after
        result = step(trainer, skipped=True)
        trainer._count_skipped(start_after + 1, result, [], Loader)
        with pytest.raises(NonFiniteLossError, match=r"An earlier state is .*last_2\.pth"):
            trainer._count_skipped(start_after + 2, result, [], Loader)
        assert states(folder) == {"last.pth": start_after + 2, "last_2.pth": 1}


def test_going_back_to_an_earlier_state_keeps_the_newest(start, tmp_path):
    trainer, folder = start(), tmp_path / "run"
    for iteration in (1, 2):
        step(trainer, skipped=False)
        trainer._save(iteration, Loader)
    found = find_state(str(folder / "last_2.pth"), folder, RunLog(enabled=False))
    start(found)._save(1, Loader)
    assert states(folder) == {"last.pth": 1, "last_2.pth": 2}


def test_a_state_found_behind_a_damaged_one_takes_its_place(start, tmp_path):
    trainer, folder = start(), tmp_path / "run"
    for iteration in (1, 2):
        step(trainer, skipped=False)
        trainer._save(iteration, Loader)
    (folder / "last.pth").write_bytes(b"")
    start(find_state("auto", folder, RunLog(enabled=False)))._save(1, Loader)
    assert states(folder) == {"last.pth": 1, "last_2.pth": 1}
