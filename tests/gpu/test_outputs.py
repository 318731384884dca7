"""Models of each family give on a GPU what they give on a CPU: fp32, to 1e-3, also relative."""

import pytest
import torch

from models import create_model
from tools.support.formula_weights import fill_by_formula

NAMES = [
    "mgp_str_tiny_patch4_3_32_128",
    "char_str_base_patch4_3_32_128",
    "acds_str_tiny",
    "acds_mgp_str_tiny",
    "acds_char_str_small",
]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_the_cpus(name, exact_fp32):
    torch.manual_seed(0)
    model = create_model(name).eval()
    fill_by_formula(model)
    images = torch.rand(4, 3, 32, 128)
    with torch.inference_mode():
        expected = model(images)
        found = model.cuda()(images.cuda())
    for granularity, logits in expected.logits().items():
        equal(found.logits()[granularity], logits)
        equal(found.attention[granularity], expected.attention[granularity])
    for shown in ("core_area", "guided_attention"):
        if getattr(expected, shown) is not None:
            equal(getattr(found, shown), getattr(expected, shown))


def equal(found, expected):
    torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=1e-3)
