"""Training with core areas: ranks with and without boxes add up, and weights of losses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.distributed import Process
from engine.optimization import Optimization
from engine.step import Stepper
from models import create_model

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
ALONE = Process(0, 0, 1, torch.device("cpu"))

# What every process does; the ranks' own part is cut out of the joint batch.
SETTING = """
import torch
from torch.nn.parallel import DistributedDataParallel
from engine.distributed import distributed
from engine.optimization import Optimization
from engine.step import Stepper
from models import create_model

def model_of(form):
    torch.manual_seed(0)
    model = create_model(
        "mgp_str_tiny_patch4_3_32_128", depth=2, width=48, num_heads=3,
        granularities=("char",), core_area_head=True, core_area_form=form,
    )
    model.learn_core_areas(True)
    return model.train()

def joint_batch():
    random = torch.Generator().manual_seed(1)
    images = torch.rand(4, 3, 32, 128, generator=random)
    targets = {"char": torch.randint(1, 38, (4, 27), generator=random)}
    targets["char"][0, 9:] = targets["char"][3, 4:] = 0  # ranks of unlike numbers of positions
    areas = torch.zeros(4, 1, 32, 128, dtype=torch.uint8)
    areas[:, :, 8:20, 8:30], areas[:, :, 10:22, 40:60] = 1, 2
    targets["core_area"] = areas
    targets["has_core_area"] = torch.tensor([True, True, False, False])
    return images, targets

def take_step(process, form, images, targets):
    model = model_of(form)
    wrapped = DistributedDataParallel(model) if process.world_size > 1 else model
    optimization = Optimization(optimizer="sgd", lr=0.5, beta1=0.0)
    weights = {"core_area_loss": 0.5, "guidance_loss": 0.2}
    step = Stepper(
        model,
        *optimization.build(model),
        optimization.grad_clip,
        process,
        weights=weights,
        wrapped=wrapped,
    )
    results = [step([(images, targets)]) for _ in range(2)]
    return [vars(r) for r in results], model.state_dict()
"""

RANK = (
    SETTING
    + """
import sys
torch.set_num_threads(1)
with distributed("cpu") as process:
    images, targets = joint_batch()
    own = slice(2 * process.rank, 2 * process.rank + 2)
    done = {
        form: take_step(process, form, images[own], {k: v[own] for k, v in targets.items()})
        for form in ("linear", "sigmoid")
    }
    torch.save(done, f"{sys.argv[1]}/{process.rank}.pth")
"""
)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, free_port):
    """Results of two ranks of which the first alone has boxes."""
    place = tmp_path_factory.mktemp("ranks")
    (place / "rank.py").write_text(RANK, encoding="utf-8")
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, str(place / "rank.py"), str(place)],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in ranks:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors[-2000:]
    finally:
        for process in ranks:
            process.kill()
    return [torch.load(place / f"{rank}.pth", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_a_rank_without_boxes_changes_nothing(two_ranks, form):
    setting: dict = {}
    exec(SETTING, setting)
    expected, weights = setting["take_step"](ALONE, form, *setting["joint_batch"]())
    for results, state in (done[form] for done in two_ranks):
        for result, wanted in zip(results, expected, strict=True):
            assert result["losses"].keys() == wanted["losses"].keys()
            for name, value in wanted["losses"].items():
                assert result["losses"][name] == pytest.approx(value, abs=1e-5), name
            assert result["total"] == pytest.approx(wanted["total"], abs=1e-5)
            assert result["gradient_norm"] == pytest.approx(wanted["gradient_norm"], rel=1e-4)
        for name, value in weights.items():
            torch.testing.assert_close(state[name], value, atol=1e-5, rtol=1e-4, msg=name)
    # Both losses of boxes were learned from, and from two of the four images only.
    assert expected[0]["losses"].keys() == {"char_loss", "core_area_loss", "guidance_loss"}
    assert all(value > 0 for value in expected[0]["losses"].values())
    fresh = setting["model_of"](form).state_dict()["core_area_head.proj.weight"]
    assert not torch.equal(fresh, weights["core_area_head.proj.weight"])


def tiny():
    torch.manual_seed(0)
    return create_model(
        "mgp_str_tiny_patch4_3_32_128",
        depth=1,
        width=48,
        num_heads=3,
        granularities=("char",),
        core_area_head=True,
        core_area_form="sigmoid",
    ).train()


def batch(has_core_area=(True, True)):
    areas = torch.zeros(2, 1, 32, 128, dtype=torch.uint8)
    areas[:, :, 8:20, 8:30], areas[:, :, 10:22, 40:60] = 1, 2
    targets = {"char": torch.randint(1, 38, (2, 27)), "core_area": areas}
    return torch.rand(2, 3, 32, 128), targets | {"has_core_area": torch.tensor(has_core_area)}


def stepper(model, weights) -> Stepper:
    optimizer, schedule = Optimization(optimizer="sgd", lr=0.1, beta1=0.0).build(model)
    return Stepper(model, optimizer, schedule, 5.0, ALONE, weights=weights)


def test_the_total_is_the_weighted_sum():
    model = tiny()
    given = batch()
    with torch.no_grad():
        means = {name: loss.mean.item() for name, loss in model(*given).items()}
    weights = {"char_loss": 0.7, "core_area_loss": 0.5}
    result = stepper(model, weights)([given])
    assert result.losses == pytest.approx(means, rel=1e-5)
    expected = 0.7 * means["char_loss"] + 0.5 * means["core_area_loss"] + means["guidance_loss"]
    assert result.total == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_weight_0_is_not_shown_but_reaches_its_parameters():
    model = tiny()
    before = model.core_area_head.proj.weight.detach().clone()
    result = stepper(model, {"core_area_loss": 0.0, "guidance_loss": 0.0})([batch()])
    assert result.losses.keys() == {"char_loss"}
    assert result.total == pytest.approx(result.losses["char_loss"])
    for parameter in model.core_area_head.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
    assert torch.equal(model.core_area_head.proj.weight, before)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_weight_scales_the_step():
    moved = []
    for weight in (0.1, 0.2):
        torch.manual_seed(1)
        model = tiny()
        before = model.core_area_head.proj.weight.detach().clone()
        step = stepper(model, {"char_loss": 0.0, "guidance_loss": 0.0, "core_area_loss": weight})
        assert step([batch()]).gradient_norm < 5  # not clipped
        moved.append(model.core_area_head.proj.weight.detach() - before)
    assert moved[0].any()
    torch.testing.assert_close(moved[1], 2 * moved[0], rtol=1e-3, atol=1e-7)


def test_a_step_without_boxes_is_a_step_of_reading():
    model = tiny()
    result = stepper(model, {})([batch((False, False))])
    assert result.losses["core_area_loss"] == result.losses["guidance_loss"] == 0
    assert result.total == pytest.approx(result.losses["char_loss"])
    assert not model.core_area_head.proj.weight.grad.any()
