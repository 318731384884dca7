"""export.py and tools/compare_exports.py on a small model."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import demo
import export
from engine.exported_forms import FORMS, TOLERANCE, Agreement, compare, staged
from models import create_model
from models.checkpoint import load_model
from models.hugging_face import PROCESSOR_FILES
from models.safetensors_file import save_safetensors
from reading import Reader, Reading
from reading.onnx_recognition import OnnxRecognition
from tools.compare_exports import Candidate, accuracy, candidates, measure
from tools.support.labelled_words import labelled_images, readable

HALF = "safetensors in half precision"
DEMO_IMAGES = Path(__file__).resolve().parents[2] / "demo_imgs"

pytestmark = pytest.mark.usefixtures("one_thread")
LIGHT = pytest.mark.parametrize("model", ["acds_str_tiny"], indirect=True)


@pytest.fixture
def call(monkeypatch):
    """Runs a script's main with arguments; its exit status."""

    def call_main(script, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
        try:
            script.main()
        except SystemExit as ended:
            return ended.code
        return 0

    return call_main


@pytest.fixture
def quick_onnx(onnx_file, monkeypatch):
    """The exporter takes long: this file is what it would write."""
    form = replace(FORMS["onnx"], write=lambda _, path: shutil.copy(onnx_file, path))
    monkeypatch.setitem(FORMS, "onnx", form)


@LIGHT
def test_an_interruption_is_a_sentence(call, checkpoint, tmp_path, monkeypatch, capsys):
    def interrupted(_, place):
        place.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(FORMS, "onnx", replace(FORMS["onnx"], write=interrupted))
    target = tmp_path / "new" / "m.onnx"
    assert call(export, "--model_dir", checkpoint, "--onnx", target) == 130
    assert capsys.readouterr().err == "interrupted: the form under way was not written\n"
    assert not list(target.parent.iterdir())


@LIGHT
def test_every_form_is_checked_and_written(call, checkpoint, quick_onnx, tmp_path, capsys):
    place = tmp_path / "new"
    status = call(
        *(export, "--model_dir", checkpoint, "--images", DEMO_IMAGES),
        *("--onnx", place / "m.onnx", "--safetensors", place / "m.safetensors"),
    )
    printed = capsys.readouterr().out
    assert status == 0
    assert printed.count(f"reads the 11 words of {DEMO_IMAGES} as the checkpoint does") == 2
    assert sorted(p.name for p in place.iterdir()) == ["m.onnx", "m.safetensors"]


@LIGHT
def test_without_images_the_demo_s_are_taken(call, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(export, "--model_dir", checkpoint, "--safetensors", "m.safetensors") == 0
    assert f"reads the 11 words of {DEMO_IMAGES}" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["mgp_str_mini_stem8x8_3_32_128"], indirect=True)
def test_half_precision_is_half_the_size_and_reads_the_same(call, checkpoint, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    options = ("--model_dir", checkpoint, "--safetensors", whole, "--safetensors_half", half)
    assert call(export, *options) == 0
    assert 0.5 < half.stat().st_size / whole.stat().st_size < 0.51
    assert next(load_model(half).parameters()).dtype == torch.float32


@LIGHT
def test_demo_reads_an_exported_file_as_the_checkpoint(
    call, checkpoint, onnx_file, tmp_path, capsys
):
    rows = []
    for path in (checkpoint, onnx_file):
        status = call(
            *(demo, "--model_dir", path, "--demo_imgs", DEMO_IMAGES, "--device", "cpu"),
            *("--csv", tmp_path / "out.csv", "--attention_dir", tmp_path / "attens"),
        )
        assert status == 0
        with (tmp_path / "out.csv").open(encoding="utf-8") as table:
            rows.append([(row["file"], row["text"]) for row in csv.DictReader(table)])
    assert "no attention pictures: an ONNX file only reads" in capsys.readouterr().err
    assert rows[0] == rows[1]
    assert len(rows[0]) == 11


@LIGHT
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Nothing to export to; give --onnx, --hugging_face, --safetensors"),
        (("--onnx", "light.bin"), "its name must end with .onnx"),
        (("--hugging_face", "folder"), "transformers has no class for acds_str_tiny"),
        (("--onnx", "a.onnx", "--hugging_face", "folder"), "transformers has no class"),
        (("--safetensors", "a.safetensors", "--images", "nowhere"), "no images at nowhere"),
        (("--safetensors", "a.safetensors", "--imgW", "64"), "--imgW asks for 64"),
        (("--safetensors", "file/a.safetensors"), "file"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(
    call, checkpoint, options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    images = () if "--images" in options else ("--images", DEMO_IMAGES / "night.jpg")
    assert call(export, "--model_dir", checkpoint, *options, *images) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@LIGHT
def test_a_form_that_reads_otherwise_is_not_left(call, checkpoint, tmp_path, monkeypatch, capsys):
    other = create_model("acds_str_tiny")
    broken = replace(FORMS["safetensors"], write=lambda _, path: save_safetensors(path, other))
    monkeypatch.setitem(FORMS, "safetensors", broken)
    target = tmp_path / "light.safetensors"
    target.write_bytes(b"before")
    status = call(
        export, "--model_dir", checkpoint, "--safetensors", target, "--images", DEMO_IMAGES
    )
    assert status == 1
    assert "does not read as the checkpoint does, and was not written" in capsys.readouterr().err
    assert target.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["light.safetensors"]


@LIGHT
def test_a_graph_that_fuses_otherwise_is_not_left(
    call, checkpoint, quick_onnx, tmp_path, monkeypatch, capsys
):
    fused = OnnxRecognition.fused

    def otherwise(self, pixels):
        winners, confidences = fused(self, pixels)
        return winners, {name: value + 0.01 for name, value in confidences.items()}

    monkeypatch.setattr(OnnxRecognition, "fused", otherwise)
    options = ("--onnx", tmp_path / "m.onnx", "--images", DEMO_IMAGES)
    assert call(export, "--model_dir", checkpoint, *options) == 1
    assert "confidences by up to 1.0e-02" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_texts_and_confidences_of_every_granularity_are_compared(encode_image):
    torch.manual_seed(1)
    reading = Reader(create_model("acds_str_tiny"), device="cpu")(encode_image("word"))
    assert compare([reading], [reading]) == Agreement(1, (), 0.0)
    own = reading.by_granularity["char"]
    another = replace(reading, by_granularity={"char": replace(own, text="no")})
    (line,) = compare([reading], [another]).changed
    assert line == f"image 0, char: {own.text!r} became 'no'"
    unsure = replace(reading, confidence=reading.confidence + 2 * TOLERANCE)
    agreement = compare([reading], [unsure])
    assert not agreement.holds()
    assert agreement.largest == pytest.approx(2 * TOLERANCE)
    assert compare([Reading("", 0.0, "", error="x")], [Reading("", 0.0, "", error="x")]).holds()


def test_a_folder_that_exists_keeps_its_other_files(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "README.md").write_text("mine")
    with staged(tmp_path / "folder") as place:
        place.mkdir()
        (place / "config.json").write_text("{}")
    with pytest.raises(RuntimeError), staged(tmp_path / "folder") as place:
        place.mkdir()
        (place / "config.json").write_text("broken")
        raise RuntimeError
    assert (tmp_path / "folder" / "README.md").read_text() == "mine"
    assert (tmp_path / "folder" / "config.json").read_text() == "{}"
    assert len(list(tmp_path.iterdir())) == 1


@LIGHT
def test_forms_are_measured_on_a_labelled_folder(
    checkpoint, onnx_file, encode_image, tmp_path, capsys
):
    (tmp_path / "one.png").write_bytes(encode_image("one"))
    (tmp_path / "bad.png").write_bytes(b"")
    text = Reader.load(checkpoint, device="cpu")(tmp_path / "one.png").text
    truth = f"one.png\t{text.upper()}!\nbad.png\tbad\none.png\t&\n"  # & is none to compare
    (tmp_path / "gt.txt").write_text(truth, encoding="utf-8")
    forms = [
        Candidate("checkpoint", checkpoint, "fp32"),
        Candidate("ONNX", onnx_file, "exported"),
    ]
    images = readable({"all": labelled_images(tmp_path)})["all"]
    assert "bad.png" in capsys.readouterr().err
    first, second = measure(forms, images, tmp_path, rounds=1, batch_size=2)
    assert "1 images read" in capsys.readouterr().out
    assert (first.form, second.form) == ("checkpoint", "ONNX")
    assert first.accuracy == second.accuracy == 100
    assert second.change == second.readings_changed == second.texts_changed == 0
    assert second.confidence_change <= TOLERANCE
    for row, path in ((first, checkpoint), (second, onnx_file)):
        assert row.megabytes == path.stat().st_size / 1e6
        assert row.images_per_s > 0


@LIGHT
def test_forms_that_a_model_has_not_are_left_out(checkpoint, quick_onnx, tmp_path, capsys):
    found = candidates(str(checkpoint), tmp_path)
    names = [candidate.name for candidate in found]
    assert names == ["checkpoint, fp32", "checkpoint, bf16", "ONNX", "safetensors", HALF]
    assert all(candidate.path.is_file() for candidate in found)
    assert "Hugging Face folder left out: transformers has no class" in capsys.readouterr().err


def test_accuracy_is_of_letters_and_digits():
    readings = [Reading("Ab-c", 1.0, "char"), Reading("x", 1.0, "char")]
    assert accuracy(readings, ["aBC", "y"]) == 50


def test_a_folder_loses_the_processor_of_the_model_before(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    for name in (*PROCESSOR_FILES, "config.json", "notes.txt"):
        (target / name).write_text("old", encoding="utf-8")
    with staged(target, FORMS["hugging_face"].owned) as place:
        place.mkdir()
        (place / "config.json").write_text("new", encoding="utf-8")
    left = {file.name: file.read_text(encoding="utf-8") for file in target.iterdir()}
    assert left == {"config.json": "new", "notes.txt": "old"}


def test_two_forms_in_one_place_and_one_over_its_source_are_refused(tmp_path):
    target = tmp_path / "m.safetensors"
    for own in (
        ["--safetensors", target, "--safetensors_half", target],
        ["--safetensors", "assets/weights/acds_char_str_light.safetensors"],
        ["--safetensors", tmp_path / "hf/model.safetensors", "--hugging_face", tmp_path / "hf"],
    ):
        command = [sys.executable, "export.py", "--model_dir", "acds_char_str_light", *own]
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "have the same place" in done.stderr
    assert not target.exists()
