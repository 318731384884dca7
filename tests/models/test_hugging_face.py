"""Exchange with transformers' MgpstrForSceneTextRecognition."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from loading.preprocessing import preprocess
from models import create_model
from models.checkpoint import CheckpointError, load_checkpoint, load_model
from models.hugging_face import export_hugging_face
from text import CHARSET_PRESETS

DEMO_IMAGES = Path(__file__).resolve().parents[2] / "demo_imgs"
TINY = "mgp_str_tiny_patch4_3_32_128"


def test_transformers_computes_the_same_from_our_export(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = create_model(TINY).eval()
    export_hugging_face(model, tmp_path)
    theirs = transformers.MgpstrForSceneTextRecognition.from_pretrained(tmp_path).eval()
    images = torch.rand(2, 3, 32, 128)
    with torch.inference_mode():
        own = model(images)
        char, bpe, wp = theirs(pixel_values=images).logits
    for name, logits in (("char", char), ("bpe", bpe), ("wp", wp)):
        torch.testing.assert_close(getattr(own, name), logits, atol=1e-4, rtol=0)


def test_the_processor_of_our_export_makes_the_same_input(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("sentencepiece")
    characters = "".join(reversed(CHARSET_PRESETS["94"]))
    model = create_model(TINY, characters=characters, image_width=96)
    export_hugging_face(model, tmp_path)
    # The constructor asks the hub for these, which is out of reach, and not needed for the input.
    find = transformers.AutoTokenizer.from_pretrained
    elsewhere = ("openai-community/gpt2", "google-bert/bert-base-uncased")
    monkeypatch.setattr(
        transformers.AutoTokenizer,
        "from_pretrained",
        lambda name, *more, **own: None if name in elsewhere else find(name, *more, **own),
    )
    processor = transformers.MgpstrProcessor.from_pretrained(tmp_path)
    for file in sorted(DEMO_IMAGES.glob("*.jpg")):
        image = Image.open(file).convert("RGB")
        theirs = processor(images=image, return_tensors="pt").pixel_values
        ours = torch.from_numpy(preprocess(image, 32, 96)).float() / 255
        # Its bicubic filter rounds otherwise.
        assert (theirs[0] - ours).abs().mean() < 0.5 / 255
        torch.testing.assert_close(theirs[0], ours, atol=6 / 255, rtol=0)
    ids = [[model.config.characters.index(c) + 2 for c in "Ab1!"]]
    assert processor.char_decode(torch.tensor(ids)) == ["Ab1!"]


@pytest.mark.parametrize("changes", [{"channels": 1}, {"keep_ratio": True}])
def test_input_that_its_processor_cannot_make_has_none(tmp_path, changes):
    model = create_model(TINY, **changes)
    export_hugging_face(model, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert load_model(tmp_path).config == model.config


def test_our_export_comes_back_the_same(tmp_path):
    model = create_model(TINY, max_length=30, image_width=64).eval()
    export_hugging_face(model, tmp_path)
    back = load_model(tmp_path)
    assert back.config == model.config
    images = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.equal(back(images).wp, model(images).wp)


def test_the_charset_comes_back_in_its_order(tmp_path):
    characters = "0123456789abcdefghijklmnopqrstuvwxyz"[::-1]
    export_hugging_face(create_model(TINY, characters=characters), tmp_path)
    assert load_checkpoint(tmp_path).config.characters == characters


def test_an_own_vocabulary_is_not_exported(tmp_path):
    model = create_model(TINY)
    model.config = model.config.with_changes(bpe_vocabulary="{}")
    with pytest.raises(ValueError, match="no place for a vocabulary"):
        export_hugging_face(model, tmp_path)


def test_a_folder_of_transformers_gives_its_logits(tmp_path, manifest, reference, fixtures):
    """The fixture was made by transformers' class, whose blocks use epsilon 1e-5."""
    weights = {
        name: torch.from_numpy(reference.reference_array(name, shape))
        for name, shape in manifest("hf").items()
    }
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "mgp-str"}')
    model = load_model(tmp_path)
    for block in model.blocks:
        block.norm1.eps = block.norm2.eps = 1e-5
    expected = fixtures("hf.npz")
    with torch.inference_mode():
        outputs = model(torch.from_numpy(reference.reference_input()))
    close = torch.testing.assert_close
    close(outputs.char, torch.from_numpy(expected["char_logits"]), atol=1e-4, rtol=0)
    for name in ("bpe", "wp"):
        every = torch.from_numpy(expected[f"{name}_logits_every_997th"])
        close(getattr(outputs, name)[..., ::997], every, atol=1e-3, rtol=0)
        attention = torch.from_numpy(expected[f"{name}_attn"])
        close(outputs.attention[name], attention, atol=1e-4, rtol=0)


def test_models_that_transformers_lacks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="transformers has no class"):
        export_hugging_face(create_model("mgp_str_mini_stem8x8_3_32_128"), tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "vit"}', "not that of an mgp-str model"),
        ("{", "damaged"),
        ('{"model_type": "mgp-str", "hidden_size": 5}', "no mgp-str model has width 5"),
        ('{"model_type": "mgp-str", "image_size": 32}', "image_size is 32"),
        ('{"model_type": "mgp-str", "num_character_labels": []}', "can't be read"),
        ('{"model_type": "mgp-str", "num_attention_heads": 6}', "6 attention heads instead of the"),
        ("[" * 100_000, "can't be read"),
    ],
)
def test_foreign_folders_are_refused(tmp_path, config, message):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path)


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 50)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mgp-str"}))
    with pytest.raises(CheckpointError, match="can't be read"):
        load_checkpoint(tmp_path)


def test_the_head_for_core_areas_stays_behind(tmp_path):
    model = create_model(TINY, core_area_head=True)
    export_hugging_face(model, tmp_path)
    own = dict(model.named_parameters())
    for name, value in load_model(tmp_path).named_parameters():
        assert name.startswith(("norm.", "head.")) or torch.equal(value, own[name])
