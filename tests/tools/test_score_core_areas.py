"""Scores of core-area maps: known maps, the command, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from engine.core_area_score import NoCoreAreaError, score_core_areas
from loading.core_areas import draw_core_areas
from models import create_model, preset_config
from models.checkpoint import save_checkpoint
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet
from text import Charset
from tools.score_core_areas import main, open_sets, report

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
FILTER = LabelFilter(Charset.load("36"), 25)
SIZE = (128, 32)
# Core areas of 31x15 pixels and 21x9.
BOXES = {"ab": [["a", 0, 0, 60, 28], ["b", 70, 4, 110, 20]], "c": [["c", 10, 4, 50, 20]]}
CORES = {"ab": 31 * 15 + 21 * 9, "c": 21 * 9}


class Drawing(nn.Module):
    """Draws what it is told, image by image."""

    def __init__(self, draw):
        super().__init__()
        self.config = preset_config("acds_str_tiny")
        self.draw, self.seen = draw, []

    def forward(self, images):
        assert not self.training
        self.seen.append(len(images))
        return SimpleNamespace(core_area=self.draw(len(images)))


@pytest.fixture
def boxed(tmp_path, make_lmdb, encode_image):
    """Records ab, none, c, and one whose boxes can't be used."""
    image = encode_image("x", SIZE)
    return make_lmdb(
        tmp_path / "boxed",
        [(image, "ab"), (image, "none"), (image, "c"), (image, "bad")],
        boxes_000000001=json.dumps(BOXES["ab"]).encode(),
        boxes_000000003=json.dumps(BOXES["c"]).encode(),
        boxes_000000004=b"?",
    )


def true_map(records, number: int) -> torch.Tensor:
    area = draw_core_areas(records.read_with_boxes(number)[2], SIZE, 32, 128)
    return torch.from_numpy((area > 0).astype(np.float32))


def score(records, draw, **changes):
    return score_core_areas(Drawing(draw), records, CPU, 4, 0, **changes)


def stacked(maps):
    return lambda _: torch.stack(maps)[:, None]


def test_perfect_empty_and_full_maps(boxed):
    records = LmdbSet(boxed, FILTER)
    truth = [true_map(records, 1), true_map(records, 3)]
    assert [int(t.sum()) for t in truth] == [CORES["ab"], CORES["c"]]
    perfect = score(records, stacked(truth))
    assert (perfect.images, perfect.iou, perfect.pooled_iou) == (2, 100, 100)
    trivial = 100 * (CORES["ab"] + CORES["c"]) / 2 / 4096
    assert perfect.trivial_iou == pytest.approx(trivial)
    empty = score(records, lambda n: torch.zeros(n, 1, 32, 128))
    assert (empty.iou, empty.pooled_iou) == (0, 0)
    full = score(records, lambda n: torch.ones(n, 1, 32, 128))
    assert full.iou == pytest.approx(trivial)
    assert full.trivial_iou == pytest.approx(trivial)
    assert full.pooled_iou == pytest.approx(trivial)


def test_a_mean_of_images_and_a_pool_of_pixels_differ(boxed):
    """The first image's second character is missed, and the other's left half."""
    records = LmdbSet(boxed, FILTER)
    maps = [true_map(records, 1), true_map(records, 3)]
    maps[0][:, 70:] = 0
    maps[1][:, :30] = 0  # of columns 20 to 40
    maps[1][31, 120:] = 1  # and eight pixels too many
    half = 11 * 9
    result = score(records, stacked(maps))
    ious = [31 * 15 / CORES["ab"], half / (CORES["c"] + 8)]
    assert result.iou == pytest.approx(100 * sum(ious) / 2)
    pooled = (31 * 15 + half) / (CORES["ab"] + CORES["c"] + 8)
    assert result.pooled_iou == pytest.approx(100 * pooled)


def test_the_threshold_is_exclusive(boxed):
    records = LmdbSet(boxed, FILTER)
    half = [true_map(records, n) * 0.5 for n in (1, 3)]
    assert score(records, stacked(half)).iou == 0
    assert score(records, stacked(half), threshold=0.49).iou == 100
    assert score(records, lambda n: torch.full((n, 1, 32, 128), -3.0), threshold=0.0).iou == 0


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_records_without_usable_boxes_are_not_read(boxed, batch_size):
    records, told = LmdbSet(boxed, FILTER), []
    model = Drawing(lambda n: torch.ones(n, 1, 32, 128)).train()
    result = score_core_areas(model, records, CPU, batch_size, 0, on_images=told.append)
    assert result.images == sum(model.seen) == 2
    assert ["record 4" in line for line in result.passed_over] == [True]
    assert sum(told) == len(records) == 4


def test_what_could_not_be_compared_has_no_score(tmp_path, make_lmdb, encode_image):
    image = encode_image("x", SIZE)
    bad = make_lmdb(tmp_path / "bad", [(image, "ab")], boxes_000000001=b"?")
    with pytest.raises(DataError, match="no record whose boxes can be compared; the first: "):
        score(LmdbSet(bad, FILTER), lambda n: torch.ones(n, 1, 32, 128))


def test_nothing_there_and_nothing_drawn_is_right(tmp_path, make_lmdb, encode_image):
    # It touches the image, but nothing of its core area is on it.
    beside = json.dumps([["a", SIZE[0], 0, SIZE[0] + 40, 20]]).encode()
    path = make_lmdb(tmp_path / "set", [(encode_image("x", SIZE), "a")], boxes_000000001=beside)
    records = LmdbSet(path, FILTER)
    assert score(records, lambda n: torch.zeros(n, 1, 32, 128)).iou == 100
    assert score(records, lambda n: torch.ones(n, 1, 32, 128)).iou == 0


def test_real_boxes_are_scored(shared):
    place = shared / "real" / "evaluation_sample" / "IIIT5k_3000"
    (records,) = open_sets(place, LabelFilter(Charset.load("94"), 25)).values()
    result = score(records, lambda n: torch.ones(n, 1, 32, 128))
    assert result.images == 300
    assert result.iou == pytest.approx(result.trivial_iou) == pytest.approx(18.18, abs=0.1)


def test_a_model_without_a_map_is_named(boxed):
    model = create_model("mgp_str_mini_stem8x8_3_32_128")
    with pytest.raises(NoCoreAreaError, match="mgp_str_mini_stem8x8_3_32_128 has no core-area map"):
        score_core_areas(model, LmdbSet(boxed, FILTER), CPU, 4, 0)


def test_sets_are_those_with_boxes(boxed, tmp_path, make_lmdb, encode_image):
    make_lmdb(tmp_path / "plain", [(encode_image("x"), "x")])
    sets = open_sets(tmp_path, FILTER)
    assert list(sets) == [str(boxed)]
    with pytest.raises(DataError, match=r"None of the 1 LMDBs below .*plain has character boxes"):
        open_sets(tmp_path / "plain", FILTER)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode_image("a", SIZE))
    line = {"file": "a.png", "chars": "c", "boxes_xywh": [[10, 4, 40, 16]]}
    (folder / "char_boxes.jsonl").write_text(json.dumps(line), encoding="utf-8")
    ((name, records),) = open_sets(folder, FILTER).items()
    assert name == "folder"
    drawn = draw_core_areas(records.read_with_boxes(0)[2], SIZE, 32, 128)
    maps = torch.from_numpy(drawn)[None, None] > 0
    assert score(records, lambda _: maps.float()).iou == 100


def test_the_report_says_what_was_left_out(boxed):
    result = score(LmdbSet(boxed, FILTER), lambda n: torch.ones(n, 1, 32, 128))
    text = report({"words": result}, 0.5)
    assert "IoU %" in text and "above 0.5" in text
    assert "words: 1 records could not be used, the first: " in text


def arguments(*given) -> list[str]:
    return ["tools/score_core_areas.py", *map(str, given), "--workers", "0", "--device", "cpu"]


def test_the_command_scores_and_writes(boxed, tmp_path):
    torch.manual_seed(0)
    model = create_model("acds_str_tiny").eval()
    save_checkpoint(tmp_path / "model.pth", model)
    given = ("--model_dir", tmp_path / "model.pth", "--data", boxed, "--threshold", 0.3)
    done = subprocess.run(
        [sys.executable, *arguments(*given, "--json", tmp_path / "scores.json")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ((name, stored),) = json.loads((tmp_path / "scores.json").read_text()).items()
    assert name == str(boxed)
    expected = score_core_areas(model, LmdbSet(boxed, FILTER), CPU, 4, 0, threshold=0.3)
    assert stored["images"] == 2
    for key in ("iou", "pooled_iou", "trivial_iou"):
        assert stored[key] == pytest.approx(getattr(expected, key), abs=0.05), key
    assert len(stored["passed_over"]) == 1
    assert f"{expected.trivial_iou:.2f}" in done.stdout
    assert "above 0.3" in done.stdout


@pytest.mark.parametrize("trouble", ["no map", "no boxes", "no checkpoint", "no data"])
def test_the_command_ends_with_a_sentence(
    boxed, tmp_path, trouble, make_lmdb, encode_image, monkeypatch, capsys
):
    name = "mgp_str_mini_stem8x8_3_32_128" if trouble == "no map" else "acds_str_tiny"
    checkpoint = tmp_path / "model.pth"
    if trouble != "no checkpoint":
        save_checkpoint(checkpoint, create_model(name))
    data, sentence = boxed, f"There is no file or folder {checkpoint}"
    if trouble == "no map":
        sentence = f"{name} has no core-area map; train it with --is_mask_supervision"
    elif trouble == "no boxes":
        data = make_lmdb(tmp_path / "plain", [(encode_image("x"), "x")])
        sentence = "None of the 1 LMDBs"
    elif trouble == "no data":
        data, sentence = tmp_path / "nowhere", "is missing"
    monkeypatch.setattr(sys, "argv", arguments("--model_dir", checkpoint, "--data", data))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and sentence in said
