"""Exported ONNX files read as torch does, and without it."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models.checkpoint import CheckpointError, load_checkpoint
from models.onnx_form import INPUT, WINNER, confidence_name, ids_name, probabilities_name
from reading import Reader, find_images
from reading.images import model_input
from reading.onnx_recognition import OnnxRecognition

ROOT = Path(__file__).resolve().parents[2]
DEMO_IMAGES = ROOT / "demo_imgs"
WITHOUT_TORCH = """
import json, sys
from reading import Reader
reader = Reader.load(sys.argv[1])
readings = reader(sys.argv[2])
assert "torch" not in sys.modules, "torch was imported"
print(json.dumps([[r.text, r.confidence, len(r.characters)] for r in readings]))
"""


pytestmark = pytest.mark.usefixtures("one_thread")
# Where the model does not matter: the one of the small file.
LIGHT = pytest.mark.parametrize("model", ["acds_str_tiny"], indirect=True)


def same(expected, found) -> None:
    assert len(expected) == len(found) > 0
    for one, other in zip(expected, found, strict=True):
        assert other.text == one.text
        assert other.granularity == one.granularity
        assert other.confidence == pytest.approx(one.confidence, abs=1e-4)
        for name, own in one.by_granularity.items():
            its = other.by_granularity[name]
            assert (its.text, its.ids, its.stopped) == (own.text, own.ids, own.stopped)
            assert its.confidence == pytest.approx(own.confidence, abs=1e-4)
            assert its.probabilities == pytest.approx(own.probabilities, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_demo_images_read_as_with_torch(model, onnx_file, batch_size):
    expected = Reader(model, device="cpu", fast=False)(DEMO_IMAGES)
    same(expected, Reader.load(onnx_file, batch_size=batch_size)(DEMO_IMAGES))
    assert len({reading.text for reading in expected}) > 5


class Recorded:
    """A session that remembers how many images it was given."""

    def __init__(self, session):
        self.session, self.sizes = session, []

    def run(self, wanted, given):
        self.sizes.append(len(given[INPUT]))
        return self.session.run(wanted, given)


@LIGHT
def test_a_graph_gets_two_images_a_core(onnx_file, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    recognition = OnnxRecognition(onnx_file)
    recognition._session = session = Recorded(recognition._session)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 32, 128), dtype=np.uint8)
    found = recognition.read(pixels, maps=False)
    assert session.sizes == [4, 4, 1]
    for number in range(len(pixels)):
        one = recognition.read(pixels[number : number + 1], maps=False)
        assert (found.ids["char"][number] == one.ids["char"][0]).all()
        assert found.probabilities["char"][number] == pytest.approx(one.probabilities["char"][0])


def test_real_images_read_as_with_torch(model, onnx_file, shared):
    place = shared / "real" / "demo" / "images"
    expected = Reader(model, device="cpu", fast=False)(place)
    same(expected, Reader.load(onnx_file)(place))
    assert len({reading.text for reading in expected}) > 5


def test_torch_is_not_imported(model, onnx_file):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(onnx_file), str(DEMO_IMAGES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = Reader(model, device="cpu")(DEMO_IMAGES)
    for (text, confidence, characters), one in zip(json.loads(done.stdout), expected, strict=True):
        assert text == one.text
        assert confidence == pytest.approx(one.confidence, abs=1e-4)
        assert characters == len(one.by_granularity["char"].text)


def test_the_graph_fuses_and_its_metadata_decode(model, onnx_file):
    """What a program without this project does: run the graph, look up the winner's ids."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file))
    reader = Reader(model, device="cpu", fast=False)
    files = find_images(DEMO_IMAGES)
    pixels = np.stack([model_input(file, reader.config) for file in files])
    outputs = [o.name for o in session.get_outputs()]
    values = dict(zip(outputs, session.run(outputs, {"images": pixels}), strict=True))
    metadata = session.get_modelmeta().custom_metadata_map
    granularities = metadata["granularities"].split(",")
    kinds = (ids_name, probabilities_name, confidence_name)
    assert outputs == [kind(g) for g in granularities for kind in kinds] + [WINNER]
    assert (metadata["image_height"], metadata["image_width"]) == ("32", "128")
    stop_ids = ",".join(str(codec.stop_id) for codec in reader.codecs.values())
    names = ("stop_ids", "keep_ratio", "channels", "max_length")
    assert [metadata[name] for name in names] == [stop_ids, "false", "3", "25"]
    for i, expected in enumerate(reader(files)):
        winner = granularities[values[WINNER][i]]
        assert winner == expected.granularity
        for name in granularities:
            own = expected.by_granularity[name].confidence
            assert values[confidence_name(name)][i] == pytest.approx(own, abs=1e-4)
        ids = values["char_ids"][i, 1:].tolist()
        ids = ids[: ids.index(1)] if 1 in ids else ids
        text = "".join(metadata["charset"][c - 2] for c in ids if c >= 2)
        assert text == expected.by_granularity["char"].text


@LIGHT
def test_settings_that_an_onnx_file_has_not_are_refused(onnx_file):
    with pytest.raises(ValueError, match="ONNX files only read"):
        Reader.load(onnx_file)(DEMO_IMAGES, attention=True)
    with pytest.raises(ValueError, match="no settings of an ONNX file"):
        Reader.load(onnx_file, fast=False)
    with pytest.raises(ValueError, match="onnxruntime can't compute on tpu here, only on cpu"):
        Reader.load(onnx_file, device="tpu")
    with pytest.raises(CheckpointError, match="is an ONNX file, which can be read with"):
        load_checkpoint(onnx_file)


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu")])
def test_a_device_is_named_as_for_torch(onnx_file, device):
    assert Reader.load(onnx_file, device=device)(DEMO_IMAGES / "night.jpg").text


def changed(onnx_file, path, **entries):
    """A copy with other metadata; None takes an entry away."""
    graph = onnx.load(onnx_file)
    kept = [p for p in graph.metadata_props if p.key not in entries]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    for key, value in entries.items():
        if value is not None:
            graph.metadata_props.add(key=key, value=value)
    onnx.save(graph, path)
    return graph


@LIGHT
def test_other_files_are_refused_with_a_sentence(onnx_file, model, tmp_path, monkeypatch):
    whole = onnx_file.read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("weights")
    changed(onnx_file, tmp_path / "foreign.onnx", recognizer_format=None)
    changed(onnx_file, tmp_path / "newer.onnx", recognizer_format="onnx 99")
    changed(onnx_file, tmp_path / "noise.onnx", recognizer_config="{")
    changed(onnx_file, tmp_path / "deep.onnx", recognizer_config="[" * 100_000)
    for name, shape in {"scalar": [], "unknown": None}.items():
        kind = onnx.TensorProto
        take = onnx.helper.make_tensor_value_info("images", kind.UINT8, shape)
        give = onnx.helper.make_tensor_value_info("char_ids", kind.INT64, shape)
        node = onnx.helper.make_node("Cast", ["images"], ["char_ids"], to=kind.INT64)
        graph = onnx.helper.make_graph([node], "foreign", [take], [give])
        foreign = onnx.load(onnx_file)
        foreign.graph.CopyFrom(graph)
        onnx.save(foreign, tmp_path / f"{name}.onnx")
    config = model.config.to_dict()
    for name, changes in {
        "huge": {"image_height": 800_000},
        "twice": {"characters": "aa"},
        "heads": {"granularities": ("char", "wp")},
        "longer": {"max_length": 7},
    }.items():
        entry = json.dumps({**config, **changes})
        changed(onnx_file, tmp_path / f"{name}.onnx", recognizer_config=entry)
    messages = {
        "half": "no ONNX file, or a damaged one",
        "empty": "no ONNX file, or a damaged one",
        "text": "no ONNX file, or a damaged one",
        "foreign": "was not written by this project",
        "newer": r"form 'onnx 99'.*update",
        "noise": "damaged configuration",
        "deep": "damaged configuration",
        "scalar": "damaged: its inputs are",
        "unknown": "damaged: its inputs are",
        "huge": "damaged: its inputs are",
        "twice": "stand twice",
        "heads": "damaged: its output wp_ids is None",
    }
    for name, message in messages.items():
        with pytest.raises(CheckpointError, match=message):
            Reader.load(tmp_path / f"{name}.onnx")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(CheckpointError, match=r"char outputs have the shapes \[4, 27\]"):
        Reader.load(tmp_path / "longer.onnx")(DEMO_IMAGES)


@LIGHT
def test_a_reader_of_an_onnx_file_can_be_copied(model, onnx_file, monkeypatch):
    reader = Reader.load(onnx_file, batch_size=3)
    expected = reader(DEMO_IMAGES)
    for copied in (copy.deepcopy(reader), pickle.loads(pickle.dumps(reader))):
        assert copied(DEMO_IMAGES) == expected and copied.batch_size == 3
    monkeypatch.chdir(onnx_file.parent)
    reader = Reader.load(onnx_file.name)
    monkeypatch.chdir("/")
    assert copy.deepcopy(reader)(DEMO_IMAGES) == expected


@LIGHT
def test_ids_beyond_the_classes_are_refused(onnx_file, model, tmp_path):
    config = {**model.config.to_dict(), "characters": "ab"}
    changed(onnx_file, tmp_path / "few.onnx", recognizer_config=json.dumps(config))
    with pytest.raises(CheckpointError, match="char ids beyond its 4 classes"):
        Reader.load(tmp_path / "few.onnx")(DEMO_IMAGES)


def test_a_folder_called_onnx_is_no_onnx_file(tmp_path):
    shutil.copytree(DEMO_IMAGES, tmp_path / "folder.onnx")
    with pytest.raises(CheckpointError, match="is a folder, but no Hugging Face one"):
        Reader.load(tmp_path / "folder.onnx")
