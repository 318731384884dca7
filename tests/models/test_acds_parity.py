"""Names, shapes and numbers of the official ACDS-STR models, and thirty steps of training."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.distributed import Process
from engine.optimization import Optimization
from engine.step import Stepper
from models import config_codecs, create_model
from modules.core_area import core_area_loss

# The fixtures were made with them; elsewhere fp32 rounds otherwise.
HAS_THEIR_KERNELS = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
CPUS = Path("/proc/cpuinfo")  # of Linux
# MKL has kernels of its own for these.
IS_INTEL = CPUS.is_file() and "GenuineIntel" in CPUS.read_text(encoding="utf-8")

SIZES = {"acds_small": "ACDS-STR-Small", "acds_base": "ACDS-STR-Base"}


@pytest.mark.parametrize("fixture", SIZES)
def test_state_dict_is_the_official_one(fixture, manifest):
    with torch.device("meta"):
        model = create_model(SIZES[fixture])
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert own == manifest(fixture)
    never = {n for n, p in model.named_parameters() if not p.requires_grad}
    unused = ("patch_embed.proj", "head", "char_head")
    assert never == {f"{name}.{part}" for name in unused for part in ("weight", "bias")}


@pytest.fixture
def small(reference):
    """acds_str_small with the formula weights."""
    yield reference.load_reference(create_model("acds_str_small"))
    gc.collect()


def tolerance(variant: str, training: bool, dtype: torch.dtype) -> float:
    """1e-4, but where fp32 itself is further away from what the weights amount to.

    Variant B shows it: with batch statistics, the fixture is 3.5e-3 away from float64. So near to
    the fixture come only the kernels that made it: an Intel Xeon's with one or two threads, 5e-5;
    elsewhere AVX-512's are 1.3e-4 away, or 4.4e-4 with more threads, AVX2's 3.9e-3.
    """
    if variant == "A" or (dtype == torch.float64 and not training):
        return 1e-4
    same_kernels = dtype == torch.float32 and HAS_THEIR_KERNELS
    if same_kernels and IS_INTEL and torch.get_num_threads() <= 2:
        return 1e-4
    if training:
        return 5e-4 if same_kernels else 5e-3
    return 1e-4 if same_kernels else 2e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_core_area(small, fixtures, reference, variant, training, dtype):
    name = "acds_small" if variant == "A" else "acds_small_variantB"
    expected = fixtures(f"{name}.npz")
    prefix = "train_" if training else ""
    model = reference.load_reference(small, variant=variant).train(training).to(dtype)
    with torch.no_grad():
        outputs = model(torch.from_numpy(reference.reference_input()).to(dtype))
    limit = tolerance(variant, training, dtype)
    for own, key in ((outputs.char, "char_logits"), (outputs.core_area, "core_map")):
        expected_array = torch.from_numpy(expected[prefix + key]).to(dtype)
        torch.testing.assert_close(own, expected_array, atol=limit, rtol=0)


def test_base_has_the_mean_and_deviation_of_the_facts(reference):
    """Reference facts, 11; there are no arrays of base."""
    model = reference.load_reference(create_model("acds_str_base")).eval()
    with torch.inference_mode():
        outputs = model(torch.from_numpy(reference.reference_input()))
    assert float(outputs.char.std(correction=0)) == pytest.approx(0.971886, abs=2e-5)
    assert float(outputs.core_area.mean()) == pytest.approx(-0.66424, abs=2e-5)
    assert float(outputs.core_area.std(correction=0)) == pytest.approx(0.26141, abs=2e-5)
    gc.collect()


@pytest.fixture
def batch(fixtures, reference):
    """The fixed images, and the targets of ACDS-STR on them."""
    codec = config_codecs(create_model("acds_str_tiny").config)["char"]
    masks = torch.from_numpy(fixtures("acds_small.npz")["mask"])
    return torch.from_numpy(reference.reference_input()), {
        "char": torch.from_numpy(codec.encode_batch(reference.LABELS)),
        "core_area": masks.view(4, 1, 32, 128),
        "has_core_area": torch.ones(4, dtype=torch.bool),
    }


def test_losses_and_gradients(small, fixtures, batch):
    step = fixtures("acds_small.json")["train_step"]
    losses = small.train()(*batch)
    assert losses.keys() == {"char_loss", "core_area_loss"}
    char_loss, core_area_loss_ = (losses[n].mean for n in ("char_loss", "core_area_loss"))
    assert char_loss.item() == pytest.approx(step["losses"]["char_loss"], rel=1e-4)
    assert core_area_loss_.item() == pytest.approx(step["losses"]["mask_loss"], rel=1e-4)
    (char_loss + 0.5 * core_area_loss_).backward()
    for module, expected in step["grad_norms"].items():
        # conv_class scales one row of the re-weighting, which the LayerNorm takes back.
        tolerance = {"abs": 1e-5} if module == "conv_class" else {"rel": 1e-3}
        assert gradient_norm(small, module) == pytest.approx(expected, **tolerance), module


def gradient_norm(model, module: str) -> float:
    squares = [
        float(p.grad.square().sum())
        for n, p in model.named_parameters()
        if p.grad is not None and (n == module or n.startswith(module + "."))
    ]
    return sum(squares) ** 0.5


# Reference facts, 11: four digits of each.
BASE_GRADIENT_NORMS = {
    "cls_token": 0.07459,
    "pos_embed": 0.1114,
    "gated": 3.066,
    "blocks.0": 6.05,
    "blocks.6": 3.519,
    "blocks.7": 3.186,
    "blocks.8": 2.994,
    "blocks.9": 2.914,
    "norm": 0.0637,
    "char_tokenLearner": 5.969,
    "cnnBackbone": 135.4,
    "conv1": 13.06,
    "conv_fpn": 2.835,
}


def test_base_has_the_losses_and_gradients_of_the_facts(batch, reference):
    model = reference.load_reference(create_model("acds_str_base")).train()
    losses = {name: loss.mean for name, loss in model(*batch).items()}
    assert losses["char_loss"].item() == pytest.approx(3.989568, rel=1e-4)
    assert losses["core_area_loss"].item() == pytest.approx(1.861241, rel=1e-4)
    (losses["char_loss"] + 0.5 * losses["core_area_loss"]).backward()
    for module, expected in BASE_GRADIENT_NORMS.items():
        assert gradient_norm(model, module) == pytest.approx(expected, rel=1e-3), module
    del model, losses
    gc.collect()


def test_thirty_steps(small, fixtures, batch):
    """As far as the reference reproduces itself (reference facts, 12), and fp32 does.

    In float64 the losses of steps 2 and 3 are 2.0018 and 1.8738, 0.01 and 0.08 away from the log's:
    chaos makes as much of fp32's rounding, and that depends on the processor.
    """
    log = fixtures("dynamics_acds_small_t2.json")["log"]
    optimization = Optimization(lr=0.38328, schedule="reference")
    step = Stepper(
        small,
        *optimization.build(small.train()),
        optimization.grad_clip,
        Process(0, 0, 1, torch.device("cpu")),
        weights={"core_area_loss": 0.5},
    )
    totals = [step([batch]).total for _ in log]
    limits = [1e-3, 1e-3, 2e-3, 1e-2] if HAS_THEIR_KERNELS else [1e-3, 1e-3, 3e-2, 0.15]
    for number, limit in enumerate(limits):
        assert totals[number] == pytest.approx(log[number]["total"], abs=limit), number
    assert 0.35 <= totals[-1] <= 0.45


def test_the_core_area_loss_is_the_reference_s(fixtures):
    facts = fixtures("wbce.json")
    random = np.random.default_rng(5)
    raw = torch.from_numpy(random.uniform(-0.5, 1.5, (2, 1, 32, 128)).astype(np.float32))
    inside = torch.from_numpy((random.uniform(size=raw.shape) > 0.7).astype(np.uint8))
    raw.requires_grad_()
    loss = core_area_loss(raw, inside, torch.ones(2, dtype=torch.bool), "linear").mean
    loss.backward()
    assert loss.item() == pytest.approx(facts["weighted_1_2"], rel=1e-5)
    assert float((raw.grad != 0).float().mean()) == pytest.approx(facts["grad_nonzero_fraction"])
    assert float(raw.grad.norm()) == pytest.approx(facts["grad_l2"], rel=1e-4)
