"""The fast path to logits equals the plain one."""

import pytest
import torch

from models import create_model
from models.reading_path import AT_ONCE, reading_path

MODELS = {
    "acds_str_tiny": {},
    "acds_mgp_str_tiny": {"granularities": ("char",)},
    "mgp_str_tiny_patch4_3_32_128": {"depth": 2},
}


def trained_like(name: str, **changes):
    """A model whose norms, gates and statistics are not those of a fresh one."""
    torch.manual_seed(4)
    model = create_model(name, **changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        for key, value in model.named_buffers():
            if key.endswith("running_mean"):
                value.normal_(std=0.2)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"core_area_form": "sigmoid"}, {"guided_blocks": 0}, {"patch_width": 4}, {"channels": 1}],
)
def test_logits_are_the_plain_ones(name, changes):
    if "mgp_str_tiny_p" in name and set(changes) - {"channels"}:
        changes = {"image_width": 96}
    model = trained_like(name, **MODELS[name], **changes).double()
    # More than go through a CPU at once, and not a multiple.
    images = torch.rand(AT_ONCE + 1, model.config.channels, 32, model.config.image_width).double()
    with torch.inference_mode():
        plain, fast = model(images), reading_path(model, torch.float64)(images)
    torch.testing.assert_close(fast.char, plain.char, rtol=1e-9, atol=1e-9)


def test_official_shapes_with_the_formula_weights(reference, fixtures):
    model = reference.load_reference(create_model("acds_str_small")).eval()
    images = torch.from_numpy(reference.reference_input())
    with torch.inference_mode():
        fast = reading_path(model)(images)
    expected = torch.from_numpy(fixtures("acds_small.npz")["char_logits"])
    torch.testing.assert_close(fast.char, expected, rtol=0, atol=1e-4)


def test_the_model_itself_stays_as_it_was():
    model = trained_like("acds_str_tiny")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(2, 3, 32, 128)
    with torch.inference_mode():
        expected = model(images)
        reading_path(model, torch.bfloat16)(images)
        again = model(images)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(again.char, expected.char)


def test_bf16_is_near():
    model = trained_like("acds_str_tiny")
    images = torch.rand(4, 3, 32, 128)
    with torch.inference_mode():
        plain, rounded = model(images).char, reading_path(model, torch.bfloat16)(images).char
    assert rounded.dtype == torch.bfloat16
    assert 0 < (plain - rounded.float()).abs().max() < 0.25
