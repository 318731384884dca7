"""Checkpoints in and out: own, official, damaged, hostile, foreign."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import build_model, create_model, preset_config
from models.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
)

ROOT = Path(__file__).resolve().parents[2]
MINI = "mgp_str_mini_stem8x8_3_32_128"
TINY = "mgp_str_tiny_patch4_3_32_128"


def same_weights(one, other) -> bool:
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_round_trip_keeps_weights_configuration_and_extras(tmp_path):
    model = create_model(MINI, characters="abcé", max_length=9, image_width=64, channels=1)
    save_checkpoint(tmp_path / "m.pth", model, iteration=7, accuracy={"char": 1.5})
    checkpoint = load_checkpoint(tmp_path / "m.pth")
    assert checkpoint.config == model.config
    assert checkpoint.extra == {"iteration": 7, "accuracy": {"char": 1.5}}
    assert same_weights(load_model(tmp_path / "m.pth"), model)
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (TINY, {}),
        (TINY, {"characters": preset_config(TINY).characters + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}),
        ("char_str_base_patch4_3_32_128", {"max_length": 30}),
    ],
)
def test_official_weights_load_strictly_with_their_prefixes(tmp_path, name, changes):
    model = create_model(name, **changes)
    official = {f"module.mgp_str.{k}": v for k, v in model.state_dict().items()}
    torch.save(official, tmp_path / "official.pth")
    loaded = load_model(tmp_path / "official.pth")
    assert loaded.config.name == name
    assert loaded.config.max_length == changes.get("max_length", 25)
    assert len(loaded.config.characters) == len(model.config.characters)
    assert same_weights(loaded, model)


def test_official_weights_of_another_image_size_need_it_said(tmp_path):
    model = create_model(TINY, image_height=48, image_width=96)
    torch.save(model.state_dict(), tmp_path / "o.pth")
    with pytest.raises(CheckpointError, match=r"images of 288 patches, and 32x128 .* make 256"):
        load_checkpoint(tmp_path / "o.pth")
    assert same_weights(load_model(tmp_path / "o.pth", 48, 96), model)


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("owned",))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_hostile_files_are_refused_and_nothing_runs(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    if how == "torch":
        torch.save({"model": Hostile()}, "evil.pth")
    else:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_checkpoint("evil.pth")
    assert not (tmp_path / "owned").exists()


def test_damaged_and_foreign_files_are_refused_with_a_sentence(tmp_path):
    save_checkpoint(tmp_path / "whole.pth", create_model(MINI))
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    (tmp_path / "folder").mkdir()
    messages = {
        "half.pth": "damaged",
        "empty.pth": "damaged",
        "text.pth": "damaged",
        "list.pth": "holds a list",
        "numbers.pth": "its entries are epoch",
        "resnet.pth": "begins with conv1.weight",
        "folder": "holds nothing",
        "missing.pth": "no checkpoint",
    }
    for name, message in messages.items():
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(tmp_path / name)


def test_a_configuration_of_a_newer_version_is_refused(tmp_path):
    model = create_model(MINI)
    save_checkpoint(tmp_path / "m.pth", model)
    contents = torch.load(tmp_path / "m.pth", weights_only=True)
    contents["config"]["flux"] = 1
    torch.save(contents, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=r"unknown entries flux.*update"):
        load_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("family", "crnn", "no models of 'crnn'"),
        ("depth", "x", "depth must be a whole number, 1 or more, not 'x'"),
        ("patch_height", 0, "patch_height must be a whole number, 1 or more"),
        ("width", 10**9, "width must be"),
        ("num_heads", 7, "can't be split into 7 heads"),
        ("granularities", ("bpe",), "granularities must be char"),
        ("characters", 5, "characters must be text"),
    ],
)
def test_a_configuration_that_no_model_can_have_is_refused(tmp_path, entry, value, message):
    save_checkpoint(tmp_path / "m.pth", create_model(MINI))
    contents = torch.load(tmp_path / "m.pth", weights_only=True)
    contents["config"][entry] = value
    torch.save(contents, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("change", [{"config": 5}, {"model": 5}, {"model": {}}])
def test_parts_that_are_not_what_they_should_be_are_refused(tmp_path, change):
    save_checkpoint(tmp_path / "m.pth", create_model(MINI))
    contents = torch.load(tmp_path / "m.pth", weights_only=True)
    torch.save({**contents, **change}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "m.pth")


def test_odd_names_types_and_dimensions_are_refused(tmp_path):
    model = create_model(TINY)
    save_checkpoint(tmp_path / "own.pth", model)
    own = torch.load(tmp_path / "own.pth", weights_only=True)
    weights = model.state_dict()
    odd = [
        {0: torch.zeros(1)},
        {**own, "config": {1: 2}},
        {**own, "model": {**weights, 3: torch.zeros(1)}},
        {**own, "model": {k: v.to(torch.int8) for k, v in weights.items()}},
        {**own, "model": {**weights, "head.weight": weights["head.weight"].to_sparse()}},
        {**own, "model": {**weights, "head.weight": weights["head.weight"].to_sparse_csr()}},
        {**own, "model": {**weights, "head.weight": weights["head.weight"].to("meta")}},
        {**weights, "patch_embed.proj.weight": torch.zeros(1)},
        {**weights, "pos_embed": torch.zeros(3, 3)},
        {**weights, "head.weight": torch.tensor(1.0)},
    ]
    for contents in odd:
        torch.save(contents, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match=r"odd\.pth"):
            load_model(tmp_path / "odd.pth")


FULL_DISK = """
import resource, sys
from models import create_model
from models.checkpoint import save_checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(sys.argv[1], create_model("mgp_str_mini_stem8x8_3_32_128"))
except OSError as error:
    print("as it should be:", error)
"""


def test_no_room_is_an_os_error(tmp_path):
    """PyTorch hides it behind an error of its own, which nobody expects."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "m.pth")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "as it should be: [Errno 27]" in done.stdout, done.stderr
    assert not (tmp_path / "m.pth").exists()


def test_random_bytes_are_refused(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(60):
        noise = generator.bytes(int(generator.integers(1, 80)))
        (tmp_path / "noise.pth").write_bytes((b"\x80\x02" if number % 2 else b"") + noise)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "noise.pth")


def test_a_bare_state_dict_without_a_head_is_refused(tmp_path):
    state = create_model(TINY).state_dict()
    del state["bpe_head.weight"]
    torch.save(state, tmp_path / "o.pth")
    with pytest.raises(CheckpointError, match=r"lacks bpe_head\.weight"):
        load_checkpoint(tmp_path / "o.pth")
    with pytest.raises(CheckpointError, match="can't be cut into patches"):
        torch.save(create_model(TINY).state_dict(), tmp_path / "o.pth")
        load_checkpoint(tmp_path / "o.pth", 30)


def test_padding_travels_with_a_checkpoint_and_can_be_said_of_a_bare_one(tmp_path):
    save_checkpoint(tmp_path / "m.pth", create_model(MINI, keep_ratio=True))
    assert load_checkpoint(tmp_path / "m.pth").config.keep_ratio
    torch.save(create_model(TINY).state_dict(), tmp_path / "o.pth")
    assert not load_checkpoint(tmp_path / "o.pth").config.keep_ratio
    assert load_checkpoint(tmp_path / "o.pth", keep_ratio=True).config.keep_ratio


def test_weights_that_do_not_fit_are_named(tmp_path):
    model = create_model(MINI)
    state = model.state_dict()
    del state["cls_token"]
    state["extra"] = torch.zeros(1)
    state["char_head.bias"] = torch.zeros(5)
    save_checkpoint(tmp_path / "m.pth", model)
    contents = torch.load(tmp_path / "m.pth", weights_only=True)
    torch.save({**contents, "model": state}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "m.pth")
    message = str(caught.value)
    assert "1 missing (cls_token)" in message
    assert "1 unexpected (extra)" in message
    assert "char_head.bias (5,) instead of (38,)" in message


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "m.pth", create_model(MINI))
    before = (tmp_path / "m.pth").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path / "m.pth", create_model(MINI))
    assert (tmp_path / "m.pth").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]


def test_a_custom_vocabulary_travels_with_the_checkpoint(tmp_path):
    from tokenizers import Tokenizer, models

    vocabulary = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2}, unk_token="b")).to_str()
    config = preset_config(MINI, bpe_vocabulary=vocabulary, bpe_classes=5)
    save_checkpoint(tmp_path / "m.pth", build_model(config))
    loaded = load_model(tmp_path / "m.pth")
    assert loaded.config.bpe_vocabulary == vocabulary
    assert loaded.bpe_head.out_features == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"characters": "ab"},
        {"characters": preset_config(TINY).characters.upper() + "xyz"},
        {"max_length": 40},
        {"image_height": 64, "image_width": 256},
        {"image_height": 16, "image_width": 64},
    ],
)
def test_every_tensor_follows_charset_length_and_size(changes):
    model = create_model(MINI, **changes).eval()
    config = model.config
    outputs = model(torch.rand(1, 3, config.image_height, config.image_width))
    positions = config.max_length + 2
    assert outputs.char.shape == (1, positions, len(config.characters) + 2)
    tokens = 1 + config.image_height * config.image_width // 64
    assert outputs.attention["bpe"].shape == (1, positions, tokens)


def test_sizes_that_no_patch_fits_are_refused():
    with pytest.raises(ValueError, match=r"30x128 pixels can't be cut into patches of 8x8"):
        create_model(MINI, image_height=30)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = create_model("mgp_str_mini_stem8x8_3_32_128")
    with torch.no_grad():
        model.char_head.weight[3, 5] = float("nan")
    save_checkpoint(tmp_path / "m.pth", model)
    with pytest.raises(CheckpointError, match=r"char_head\.weight holds NaN or infinity"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.mgp_str.", "module.module."])
def test_weights_in_several_wrappers_are_unwrapped(tmp_path, prefix):
    model = create_model(TINY)
    torch.save({prefix + n: v for n, v in model.state_dict().items()}, tmp_path / "o.pth")
    assert same_weights(load_model(tmp_path / "o.pth"), model)


@pytest.mark.parametrize(
    ("field", "value"),
    [("bpe_classes", True), ("keep_ratio", "no"), ("granularities", ["char", "char"])],
)
def test_configurations_of_odd_values_are_refused(tmp_path, field, value):
    model = create_model("mgp_str_mini_stem8x8_3_32_128")
    save_checkpoint(tmp_path / "m.pth", model)
    contents = torch.load(tmp_path / "m.pth", weights_only=True)
    contents["config"][field] = value
    torch.save(contents, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=field):
        load_model(tmp_path / "m.pth")
