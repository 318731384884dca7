"""The weights in assets/weights read, and are what their card says."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reading import Reader, find_images
from reading.weights import SHIPPED, find_weights, shipped_weights
from tools.support.labelled_words import is_right, labelled_sets

ROOT = Path(__file__).resolve().parents[2]
DEMO_IMAGES = ROOT / "demo_imgs"
LIGHTLY = """
import sys
from reading import Reader
assert len(Reader.load(device="cpu")("demo_imgs")) > 5
heavy = {"timm", "torchvision", "torch._dynamo", "sympy", "cv2", "scipy", "onnx", "onnxruntime"}
sys.exit(f"imported: {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""


@pytest.mark.parametrize("name", [None, *shipped_weights()])
def test_they_read_the_demo_images(name):
    files = find_images(DEMO_IMAGES)
    readings = Reader.load(name, device="cpu")(files)
    right = [file.stem for file, r in zip(files, readings, strict=True) if r.text == file.stem]
    assert len(right) >= 8, {r.source.stem: r.text for r in readings}


def test_reading_imports_only_what_it_needs():
    """Each of these would cost up to a second and 170 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHTLY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_default_is_shipped():
    assert find_weights(None) == shipped_weights()["acds_char_str_small"]


@pytest.mark.parametrize("name", shipped_weights())
def test_cards_are_of_the_files_beside_them(name):
    file = shipped_weights()[name]
    card = (SHIPPED / f"{name}.md").read_text(encoding="utf-8")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card


def test_all_together_are_small():
    assert sum(file.stat().st_size for file in shipped_weights().values()) <= 25e6


@pytest.mark.parametrize("name", shipped_weights())
def test_the_cards_accuracy_is_what_is_measured(name, shared):
    """Of the sample of real words; its rows are `| set | images | char % | ...`."""
    reader = Reader.load(name, device="cpu")
    card = (SHIPPED / f"{name}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| ([\d.]+) ", card, flags=re.MULTILINE)
    sets = labelled_sets(shared / "real" / "evaluation_sample")
    assert {name for name, _, _ in rows} == set(sets)
    for name, images, accuracy in rows:
        readings = reader([file for file, _ in sets[name]])
        right = sum(
            is_right(r.text, label) for r, (_, label) in zip(readings, sets[name], strict=True)
        )
        assert len(readings) == int(images)
        # Another CPU may tip a reading or two.
        assert abs(100 * right / len(readings) - float(accuracy)) <= 200 / len(readings) + 0.05
