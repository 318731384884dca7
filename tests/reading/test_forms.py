"""Every form of weights comes in by the same door, and reads the same."""

import importlib.util
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import reading.weights
from models import create_model
from models.checkpoint import CheckpointError, load_model, save_checkpoint
from models.hugging_face import export_hugging_face
from models.onnx_export import export_onnx
from models.safetensors_file import save_safetensors
from reading import Reader

ROOT = Path(__file__).resolve().parents[2]
DEMO_IMAGES = ROOT / "demo_imgs"
TINY = "mgp_str_tiny_patch4_3_32_128"


pytestmark = pytest.mark.usefixtures("one_thread")
LIGHT = pytest.mark.parametrize("model", ["acds_str_tiny"], indirect=True)


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """The folder of shipped weights, empty."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(reading.weights, "SHIPPED", folder)
    return folder


def texts(reader: Reader) -> list[tuple[str, float]]:
    return [(r.text, r.confidence) for r in reader(DEMO_IMAGES)]


@LIGHT
def test_checkpoint_and_safetensors_read_the_same(model, checkpoint, tmp_path):
    expected = texts(Reader(model, device="cpu"))
    save_safetensors(tmp_path / "model.safetensors", model)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    for path in (checkpoint, tmp_path / "model.safetensors", str(checkpoint)):
        assert texts(Reader.load(path, device="cpu")) == expected
    assert load_model(tmp_path / "model.safetensors").config == model.config


def test_official_weights_and_hugging_face_folders_read_the_same(tmp_path):
    torch.manual_seed(0)
    model = create_model(TINY, image_width=64).eval()
    official = {f"module.mgp_str.{k}": v for k, v in model.state_dict().items()}
    torch.save(official, tmp_path / "official.pth")
    export_hugging_face(model, tmp_path / "folder")
    image = DEMO_IMAGES / "night.jpg"
    expected = Reader(model, device="cpu")(image)
    assert Reader.load(tmp_path / "folder", device="cpu")(image) == expected
    assert Reader.load(tmp_path / "official.pth", device="cpu", image_width=64)(image) == expected


def test_shipped_weights_are_found_by_name_or_without(shipped, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no weights; give Reader\.load a name"):
        Reader.load()
    with pytest.raises(CheckpointError, match=r"no shipped weights of that name \(none are"):
        Reader.load("small")
    save_safetensors(shipped / "small.safetensors", create_model("acds_str_tiny"))
    assert Reader.load(device="cpu").config.name == "acds_str_tiny"
    assert Reader.load("small", device="cpu").config.name == "acds_str_tiny"
    short = create_model("acds_str_tiny", max_length=9)
    save_safetensors(shipped / "short.safetensors", short)
    with pytest.raises(CheckpointError, match="none is acds_char_str_small: short, small"):
        Reader.load()
    save_safetensors(shipped / f"{reading.weights.DEFAULT}.safetensors", short)
    assert Reader.load(device="cpu").config.max_length == 9
    with pytest.raises(
        CheckpointError, match="the shipped ones are acds_char_str_small, short, small"
    ):
        Reader.load("large")


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("owned",))


@pytest.mark.parametrize("name", ["evil.pth", "evil.safetensors", "evil.onnx"])
def test_hostile_files_are_refused_and_nothing_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError, match=name):
        Reader.load(name)
    torch.save({"model": Hostile()}, name)
    with pytest.raises(CheckpointError, match=name):
        Reader.load(name)
    assert not Path("owned").exists()


def test_damaged_and_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    model = create_model("acds_str_tiny")
    save_safetensors(path, model)
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])

    def refused(contents: bytes, message: str) -> None:
        path.write_bytes(contents)
        with pytest.raises(CheckpointError, match=message):
            Reader.load(path)

    def with_config(**changes) -> bytes:
        config = {**model.config.to_dict(), **changes}
        entries = header["__metadata__"] | {"recognizer_config": json.dumps(config)}
        text = json.dumps({**header, "__metadata__": entries}).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + length :]

    for damaged in (b"", b"weights", whole[: len(whole) // 2], struct.pack("<Q", 2**60) + b"{}"):
        refused(damaged, "no safetensors file, or a damaged one")
    refused(with_config(characters="abc"), "char_head.weight")
    refused(with_config(depth=900_000), r"900,007 layers, and there are only 191 weights")
    refused(with_config(flux=1), "unknown entries flux")
    refused(with_config(granularities=("char", "bpe"), bpe_vocabulary="{"), "vocabulary is not")
    save_file({"weight": torch.zeros(2)}, path)
    refused(path.read_bytes(), "was not written by this project")


@LIGHT
def test_a_gpu_that_is_not_there_is_a_sentence(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no GPU"):
        Reader.load(checkpoint, device="cuda")
    with pytest.raises(ValueError, match="device must be cuda or cpu, not tpu"):
        Reader.load(checkpoint, device="tpu")
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or .*, not bfloat16"):
        Reader.load(checkpoint, device="cpu", dtype="bfloat16")


HUB = """
import os, sys, torch
os.chdir("/")
reader = torch.hub.load(sys.argv[1], "reader", sys.argv[2], source="local", device="cpu")
assert not any(os.path.realpath(p) == sys.argv[1] for p in sys.path)
reading = reader(sys.argv[3])
if sys.argv[2].endswith(".pth"):
    reader(sys.argv[3], attention=True)
files = {name: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
places = [sys.argv[1] + "/{}.py", sys.argv[1] + "/{}/__init__.py"]
own = {name for name, file in files.items() if file in [place.format(name) for place in places]}
print(*sorted(own - {"hubconf"}))
print(reading.text)
"""
COLLISION = """
import sys, types, torch
sys.modules[sys.argv[3]] = types.ModuleType(sys.argv[3])
torch.hub.load(sys.argv[1], "reader", sys.argv[2], source="local")
"""


def load_hubconf():
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_a_process(code: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def save_checkpoint_at(model, path) -> None:
    save_checkpoint(path, model)


@pytest.mark.parametrize(("save", "name"), [(save_checkpoint_at, "m.pth"), (export_onnx, "m.onnx")])
def test_torch_hub_loads_from_a_clone(tmp_path, save, name):
    torch.manual_seed(0)
    model = create_model("acds_str_tiny").eval()
    save(model, tmp_path / name)
    image = DEMO_IMAGES / "night.jpg"
    done = in_a_process(HUB, ROOT, tmp_path / name, image)
    assert done.returncode == 0, done.stderr
    *_, own, text = done.stdout.splitlines()
    assert text == Reader(model, device="cpu")(image).text
    # Each of them would be hidden by another project's of that name.
    assert set(own.split()) <= set(load_hubconf()._OWN)
    for other in ("models", "text"):  # the first that is imported, and one that others import
        done = in_a_process(COLLISION, ROOT, tmp_path / name, other)
        assert f"Another project's module `{other}`" in done.stderr
