"""The table of measures; and the normal level's, which must look like real photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from records.lmdb_writer import LmdbWriter
from synthetic import Renderer
from synthetic.words import BERT_VOCABULARY, GPT2_VOCABULARY, VocabularyWords
from tools.describe_images import compare, main, measure, real_images, table

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
REAL = SHARED / "real" / "training"


def test_measures_of_known_images():
    grey = np.full((40, 80, 3), 51, np.uint8)
    assert measure(grey) == pytest.approx((0.2, 0.0, 0.0, 2.0), abs=1e-3)
    halves = np.zeros((32, 64, 3), np.uint8)
    halves[:, 32:] = 255
    brightness, contrast, edges, shape = measure(halves)
    assert (brightness, contrast, shape) == pytest.approx((0.5, 0.5, 2.0), abs=1e-3)
    assert edges == pytest.approx(2 / 64)  # Sobel sees the step from both sides


def test_the_table_says_what_is_inside():
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 64, 3), dtype=np.uint8)
    rows = compare(list(noise), [image // 4 for image in noise])
    assert [inside for *_, inside in rows] == [False, False, False, True]
    assert table(rows).count("| no |") == 3
    assert [inside for *_, inside in compare(list(noise), [])] == [None] * 4


def test_an_lmdb_is_described_and_shown(tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (32, 90, 3), dtype=np.uint8)
    data = cv2.imencode(".png", image)[1].tobytes()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(data)
    with LmdbWriter(tmp_path / "set") as writer:
        writer.write(data, "word")
    sheet = tmp_path / "sheet.png"
    arguments = ["--lmdb", str(tmp_path / "set"), "--sheet", str(sheet)]
    assert main([*arguments, "--real", str(tmp_path / "photos")]) == 0
    assert "| brightness |" in capsys.readouterr().out
    assert cv2.imread(str(sheet)).shape[1] == 1400


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not here")
def test_the_normal_level_lies_within_real_images(faces):
    bert, gpt2 = BERT_VOCABULARY, GPT2_VOCABULARY
    if not bert.is_file():
        tokenizers = SHARED / "tokenizers"
        bert = tokenizers / "bert-base-uncased" / "vocab.txt"
        gpt2 = tokenizers / "gpt2" / "vocab.json"
    renderer = Renderer("normal", VocabularyWords(bert, gpt2), faces, seed=11)
    ours = [renderer.sample(index).image[:, :, ::-1] for index in range(600)]
    theirs = [image for folder in sorted(REAL.iterdir()) for image in real_images(folder)]
    rows = compare(ours, theirs)
    assert all(inside for *_, inside in rows), table(rows)
