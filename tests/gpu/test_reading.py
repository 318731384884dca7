"""A `Reader` on a GPU reads what it reads on a CPU."""

from pathlib import Path

import pytest
import torch

from models import create_model
from reading import Reader
from tools.support.reading_rounds import jpegs

DEMO_IMAGES = Path(__file__).resolve().parents[2] / "demo_imgs"


@pytest.mark.parametrize("form", [{}, {"fast": False}, {"compiled": True}], ids=str)
def test_the_shipped_weights_read_the_same(form, exact_fp32):
    expected = Reader.load(device="cpu")(DEMO_IMAGES)
    found = Reader.load(device="cuda", **form)(DEMO_IMAGES)
    assert [r.text for r in found] == [r.text for r in expected]
    confidences = [r.confidence for r in expected]
    assert [r.confidence for r in found] == pytest.approx(confidences, abs=1e-4)


@pytest.mark.parametrize("name", ["mgp_str_mini_stem8x8_3_32_128", "acds_str_tiny"])
@pytest.mark.parametrize("form", [{}, {"compiled": True}], ids=str)
def test_three_heads_and_maps_are_the_same(name, form, exact_fp32, small_models):
    torch.manual_seed(0)
    model = create_model(name).eval()
    if name.startswith("mgp"):
        small_models.fit_heads(model)
    else:
        small_models.sharpen(model)
    images = jpegs(20)
    expected = Reader(model, "cpu", fast=False)(images, attention=True)
    found = Reader(model, "cuda", **form)(images, attention=True)
    for own, other in zip(found, expected, strict=True):
        assert (own.text, own.granularity) == (other.text, other.granularity)
        assert own.confidence == pytest.approx(other.confidence, abs=1e-3)
        for name, weights in other.attention.items():
            assert own.attention[name] == pytest.approx(weights, abs=1e-3)
        if other.core_area is not None:
            assert own.core_area == pytest.approx(other.core_area, abs=1e-3)


def test_bf16_reads_most_words_the_same():
    expected = Reader.load(device="cuda")(DEMO_IMAGES)
    found = Reader.load(device="cuda", dtype=torch.bfloat16)(DEMO_IMAGES)
    same = sum(own.text == other.text for own, other in zip(found, expected, strict=True))
    assert same >= len(expected) - 1
