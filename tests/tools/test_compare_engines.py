"""Our model beside other engines on labelled words."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import ExifTags, Image, ImageDraw, ImageFont

from models import create_model
from models.checkpoint import save_checkpoint
from reading import Reader
from synthetic.fonts import packaged_files
from tools.compare_engines import accuracies, load_ours
from tools.support.labelled_words import labelled_images

ROOT = Path(__file__).resolve().parents[2]
WORDS = {"one": "HELLO", "two": "WORLD"}


@pytest.fixture
def words(tmp_path) -> Path:
    """Two sets of a large and clear word each; one has an image that is none."""
    face = next(file for file in packaged_files() if file.stem == "Lato-Regular")
    font = ImageFont.truetype(str(face), 40)
    for name, word in WORDS.items():
        folder = tmp_path / "words" / name
        folder.mkdir(parents=True)
        image = Image.new("RGB", (220, 64), "white")
        ImageDraw.Draw(image).text((20, 8), word, "black", font)
        image.save(folder / "word.png")
        (folder / "gt.txt").write_text(f"word.png\t{word.title()}!\n")
    (tmp_path / "words/two/bad.png").write_bytes(b"no image")
    with (tmp_path / "words/two/gt.txt").open("a") as truth:
        truth.write("bad.png\tbad\n")
    return tmp_path / "words"


def compare(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "tools/compare_engines.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_engines_read_the_same_words(words, tmp_path):
    torch.manual_seed(0)
    model = create_model("mgp_str_mini_stem8x8_3_32_128", depth=1, granularities=("char",))
    save_checkpoint(tmp_path / "model.pth", model)
    engines = ["ours", "ours_bf16"]
    if shutil.which("tesseract"):
        engines.append("tesseract")
    if find_spec("rapidocr"):
        engines.append("rapidocr")
    arguments = ["--data", words, "--model_dir", tmp_path / "model.pth", "--engines", *engines]
    ran = compare(*arguments, "--rounds", "1", "--json", tmp_path / "rows.json")
    assert ran.returncode == 0, ran.stderr
    assert "unreadable, left out" in ran.stderr
    assert "bad.png" in ran.stderr
    assert "| one (1) | two (1) |" in ran.stdout.replace("  ", " ")
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) == len(engines)
    assert all(row["images_per_s"] > 0 for row in rows)
    assert [rows[0]["accuracy"][name] for name in WORDS] == [0, 0]
    for name, row in zip(engines[2:], rows[2:], strict=True):
        assert row["engine"].startswith(name)
        assert row["accuracy"] == {"one": 100, "two": 100}


def test_a_missing_engine_is_told(words):
    ran = compare("--data", words, "--engines", "tesseract", PATH="")
    assert ran.returncode == 2
    assert "install Tesseract" in ran.stderr


def test_a_folder_without_labels_is_told(tmp_path):
    ran = compare("--data", tmp_path, "--engines", "ours")
    assert ran.returncode == 2
    assert "has a gt.txt" in ran.stderr


def test_accuracy_is_of_letters_and_digits():
    sets = {"a": [(Path("x"), "Word!"), (Path("y"), "no")], "b": [(Path("z"), "A-1")]}
    assert accuracies(["word", "yes", "a 1"], sets) == ({"a": 50, "b": 100}, pytest.approx(200 / 3))


def test_weights_that_are_not_there_are_told(words):
    ran = compare("--data", words, "--model_dir", "nothing.pth", "--engines", "ours")
    assert ran.returncode == 2
    assert "no file or folder nothing.pth" in ran.stderr and "Traceback" not in ran.stderr


def test_lines_that_are_no_labels_are_told(words, capsys):
    with (words / "one/gt.txt").open("a", encoding="utf-8") as file:
        file.write("nothing\n")
    assert [label for _, label in labelled_images(words / "one")] == ["Hello!"]
    assert "one/gt.txt line 2: " in capsys.readouterr().err


def test_labels_without_a_letter_do_not_count(words, capsys):
    with (words / "one/gt.txt").open("a", encoding="utf-8") as truth:
        truth.write("word.png\t&\n")
    assert [label for _, label in labelled_images(words / "one")] == ["Hello!"]
    assert "1 label(s) without letter or digit left out" in capsys.readouterr().err


def test_words_are_read_as_they_are_stored(tmp_path):
    """As test_final.py reads them: not turned by what a camera noted."""
    with Image.open(ROOT / "demo_imgs" / "night.jpg") as image:
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = 6
        image.save(tmp_path / "turned.jpg", exif=exif)
    assert Reader.load()(tmp_path / "turned.jpg").text != "night"
    assert load_ours("fp32")("", 1)([tmp_path / "turned.jpg"]) == ["night"]
