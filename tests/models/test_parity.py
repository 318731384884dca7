"""Names, shapes and numbers of the official models."""

import gc

import numpy as np
import pytest
import torch

from models import Outputs, config_codecs, create_model, list_models

OFFICIAL = {
    "mgp_tiny": "mgp_str_tiny_patch4_3_32_128",
    "mgp_small": "mgp_str_small_patch4_3_32_128",
    "mgp_base": "mgp_str_base_patch4_3_32_128",
    "mgp_large": "mgp_str_large_patch4_3_32_128",
    "char_base": "char_str_base_patch4_3_32_128",
}


@pytest.mark.parametrize("fixture", OFFICIAL)
def test_state_dict_is_the_official_one(fixture, manifest):
    with torch.device("meta"):
        model = create_model(OFFICIAL[fixture])
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert own == manifest(fixture)


def trained_names(model) -> set[str]:
    return {n for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "unused"),
    [("mgp_str_tiny_patch4_3_32_128", "head"), ("char_str_base_patch4_3_32_128", "char_head")],
)
def test_entries_that_nothing_uses_are_not_trained(name, unused):
    with torch.device("meta"):
        model = create_model(name)
    never = {n for n, _ in model.named_parameters()} - trained_names(model)
    assert never == {"norm.weight", "norm.bias", f"{unused}.weight", f"{unused}.bias"}


@pytest.fixture(scope="module", params=["mgp_tiny", "char_base", "mgp_base"])
def loaded(request, reference):
    """A model with the formula weights, and its name among the fixtures."""
    model = create_model(OFFICIAL[request.param])
    yield request.param, reference.load_reference(model).eval()
    del model
    gc.collect()


def fixture_arrays(fixtures, name: str) -> dict[str, np.ndarray]:
    # There are no arrays of base: its architecture is that of transformers' class, which
    # test_hugging_face.py compares position by position; here its mean and deviation are.
    return fixtures(f"{name}.npz") if name != "mgp_base" else {}


def test_logits_and_attention(loaded, fixtures, reference):
    name, model = loaded
    expected = fixture_arrays(fixtures, name)
    with torch.inference_mode():
        outputs: Outputs = model(torch.from_numpy(reference.reference_input()))
    assert outputs.core_area is None
    if name == "mgp_base":
        # Reference facts, 11.
        assert float(outputs.char.mean()) == pytest.approx(-0.267215, abs=2e-6)
        assert float(outputs.char.std(correction=0)) == pytest.approx(0.888104, abs=2e-5)
        return
    torch.testing.assert_close(
        outputs.char, torch.from_numpy(expected["char_logits"]), atol=1e-4, rtol=0
    )
    for granularity, attention in outputs.attention.items():
        torch.testing.assert_close(
            attention, torch.from_numpy(expected[f"{granularity}_attn"]), atol=1e-4, rtol=0
        )
    for granularity in set(outputs.attention) - {"char"}:
        logits = getattr(outputs, granularity)
        every = torch.from_numpy(expected[f"{granularity}_logits_every_997th"])
        torch.testing.assert_close(logits[..., ::997], every, atol=1e-3, rtol=0)
        largest = logits.topk(5, dim=-1)
        values = torch.from_numpy(expected[f"{granularity}_top5_val"])
        torch.testing.assert_close(largest.values, values, atol=1e-3, rtol=0)
        assert (largest.indices.numpy() == expected[f"{granularity}_top5_idx"]).mean() > 0.99


# Reference facts, 11: losses of one step, and gradient norms by module (of base, not in a file).
BASE_LOSSES = {"char_loss": 4.052437, "bpe_loss": 11.325924, "wp_loss": 10.276959}
BASE_NORMS = {
    "cls_token": 0.1589,
    "patch_embed": 2.944,
    "blocks.0": 20.35,
    "blocks.11": 6.357,
    "char_tokenLearner": 2.315,
    "bpe_tokenLearner": 2.914,
    "wp_tokenLearner": 2.626,
    "char_head": 5.988,
    "bpe_head": 7.595,
    "wp_head": 7.449,
}


def test_losses_and_gradients(loaded, fixtures, reference):
    name, model = loaded
    if name == "mgp_base":
        losses, norms, rounding = BASE_LOSSES, BASE_NORMS, 1e-3
    else:
        step = fixtures(f"{name}.json")["train_step"]
        losses = {k: v for k, v in step["losses"].items() if k != "total"}
        norms, rounding = step["grad_norms"], 0.0
    codecs = config_codecs(model.config)
    targets = {n: torch.from_numpy(c.encode_batch(reference.LABELS)) for n, c in codecs.items()}
    model.zero_grad()
    own = model(torch.from_numpy(reference.reference_input()), targets)
    assert own.keys() == losses.keys()
    for key, loss in own.items():
        assert loss.mean.item() == pytest.approx(losses[key], rel=1e-4)
    sum(loss.mean for loss in own.values()).backward()
    for module, expected in norms.items():
        squares = [
            float(p.grad.square().sum())
            for n, p in model.named_parameters()
            if p.grad is not None and (n == module or n.startswith(module + "."))
        ]
        assert sum(squares) ** 0.5 == pytest.approx(expected, rel=1e-3 + rounding), module
    model.zero_grad()


def test_every_listed_model_reads_an_image():
    for name in list_models():
        if "base" in name or "large" in name:
            continue
        model = create_model(name).eval()
        with torch.inference_mode():
            outputs = model(torch.rand(2, 3, 32, 128))
        assert outputs.char.shape == (2, 27, 38)
        for attention in outputs.attention.values():
            torch.testing.assert_close(attention.sum(-1), torch.ones(2, 27))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="mgp_str_tiny_patch4_3_32_128"):
        create_model("mgp_str_huge")
