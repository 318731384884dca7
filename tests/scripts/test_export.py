"""export.py and tools/compare_exports.py, as a user calls them."""

import csv
import json
from argparse import Namespace
from dataclasses import replace

import pytest
import torch

import export
from engine.exported_forms import FORMS, TOLERANCE, Agreement, compare, staged
from models import create_model
from models.checkpoint import save_checkpoint
from models.safetensors_file import save_safetensors
from reading import Reader, Reading


@pytest.fixture(scope="module")
def weights(workplace):
    torch.manual_seed(0)
    save_checkpoint(workplace / "light.pth", create_model("acds_str_tiny"))
    return "light.pth"


def test_demo_reads_the_exported_file_as_the_checkpoint(run, weights, tmp_path):
    file = tmp_path / "new" / "light.onnx"
    done = run(f"python3 export.py --model_dir {weights} --onnx {file}")
    assert "reads the 11 words of demo_imgs as the checkpoint does" in done.stdout
    assert [p.name for p in file.parent.iterdir()] == ["light.onnx"]
    rows = []
    for path in (weights, file):
        done = run(
            f"python3 demo.py --model_dir {path} --demo_imgs demo_imgs --csv {tmp_path}/out.csv "
            f"--attention_dir {tmp_path}/attens"
        )
        with (tmp_path / "out.csv").open() as table:
            rows.append([(row["file"], row["text"]) for row in csv.DictReader(table)])
    assert "no attention pictures: an ONNX file only reads" in done.stderr
    assert rows[0] == rows[1]
    assert len(rows[0]) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "Nothing to export to; give --onnx, --hugging_face, --safetensors"),
        ("--onnx light.bin", "its name must end with .onnx"),
        ("--hugging_face folder", "transformers has no class for acds_str_tiny"),
        ("--onnx a.onnx --images nowhere", "There are no images at nowhere"),
        ("--onnx a.onnx --imgW 64", "--imgW asks for 64"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(run, weights, workplace, options, message):
    done = run(f"python3 export.py --model_dir {weights} {options}", ok=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not [p for p in workplace.iterdir() if p.name.startswith(("a.onnx", "folder", ".exp"))]


def test_a_form_that_reads_otherwise_is_not_left(workplace, weights, tmp_path, monkeypatch):
    other = create_model("acds_str_tiny")
    broken = replace(FORMS["safetensors"], write=lambda _, path: save_safetensors(path, other))
    monkeypatch.setitem(export.FORMS, "safetensors", broken)
    target = tmp_path / "light.safetensors"
    target.write_bytes(b"before")
    options = dict.fromkeys(
        ("onnx", "hugging_face", "imgH", "imgW", "PAD", "rgb", "character", "sensitive"), None
    )
    options |= dict.fromkeys(("Transformer", "TransformerModel", "batch_max_length"), None)
    options |= {"model_dir": workplace / weights, "safetensors": target, "batch_size": 4}
    options |= {"images": workplace / "demo_imgs"}
    monkeypatch.setattr(export, "get_args", lambda script: Namespace(**options))
    with pytest.raises(SystemExit) as caught:
        export.main()
    assert caught.value.code == 1
    assert target.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["light.safetensors"]


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
    assert not agreement.holds
    assert agreement.largest == pytest.approx(2 * TOLERANCE)
    assert compare([Reading("", 0.0, "", error="x")], [Reading("", 0.0, "", error="x")]).holds


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


def test_the_forms_are_compared_in_a_table(run, weights, tmp_path):
    done = run(
        f"python3 tools/compare_exports.py --model_dir {weights} --data my_words --rounds 1 "
        f"--json {tmp_path}/rows.json"
    )
    assert "Hugging Face folder left out: transformers has no class" in done.stderr
    assert "1 images read, 1 unreadable" in done.stdout
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    forms = {row["form"]: row for row in rows}
    assert list(forms) == ["checkpoint, fp32", "checkpoint, bf16", "ONNX", "safetensors"]
    for name in ("ONNX", "safetensors"):
        assert forms[name]["changed"] == forms[name]["change"] == 0
        assert forms[name]["confidence_change"] <= TOLERANCE
    for row in rows:
        assert row["megabytes"] > 5
        assert row["images_per_s"] > 0
        assert row["form"] in done.stdout
