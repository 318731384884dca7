"""Folders with `char_boxes.jsonl`: good lines, bad ones, and missing files."""

import json

import numpy as np
import pytest

from dataset import EvaluationDataset, ImageFormat, evaluation_loader
from loading.core_areas import draw_core_areas
from records.boxed_folder import BOXES_FILE, BoxedFolder
from records.char_boxes import BoxesError, CharBox
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from text import Charset

NO_LINE = "line is not an image with its characters and boxes"


def label_filter(charset: str = "36", length: int = 25) -> LabelFilter:
    return LabelFilter(Charset.load(charset), length)


def entry(name: str = "a.png", chars="Cat", boxes=None, **more) -> dict:
    boxes = [[2 + 8 * k, 3, 7, 14] for k in range(len(chars))] if boxes is None else boxes
    return {"file": name, "chars": chars, "boxes_xywh": boxes, **more}


@pytest.fixture
def folder(tmp_path, encode_image):
    """Writes a folder of such lines (dicts or bytes), with one image."""

    def make(*lines, end: bytes = b"\n"):
        (tmp_path / "a.png").write_bytes(encode_image("a"))
        raw = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
        (tmp_path / BOXES_FILE).write_bytes(b"".join(line + end for line in raw))
        return tmp_path

    return make


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_are_images_with_words_and_boxes(folder, end):
    opened = BoxedFolder(folder(entry(), entry(chars="it's", more=1), end=end), label_filter())
    assert len(opened) == 2
    assert (opened.report.kept, opened.report.with_boxes) == (2, 2)
    assert opened.stand_in is None
    image, text, boxes = opened.read_with_boxes(0)
    assert image == (opened.path / "a.png").read_bytes()
    assert text == "cat"
    assert boxes == tuple(
        CharBox(c, ((2 + 8 * k, 3), (9 + 8 * k, 17))) for k, c in enumerate("cat")
    )
    assert opened.read(1)[1] == "its"
    assert [b.corners[0][0] for b in opened.read_with_boxes(1)[2]] == [2, 10, 26]


BAD_LINES = {
    b"{": NO_LINE,
    b"null": NO_LINE,
    b"[]": NO_LINE,
    b"{}": NO_LINE,
    b"\xff\xff": NO_LINE,
    b"[" * 100_000: NO_LINE,
    json.dumps(entry(chars=["a", "b"], boxes=[[1, 1, 2, 2]] * 2)).encode(): NO_LINE,
    json.dumps(entry(name=7)).encode(): NO_LINE,
    json.dumps(entry(name="../1.png")).encode(): "path leads out of the folder",
    json.dumps(entry(name="/etc/1.png")).encode(): "path leads out of the folder",
    json.dumps(entry(name=None)).encode(): NO_LINE,
    json.dumps(entry(boxes=[[1, 1, 2, 2]] * 2)).encode(): NO_LINE,
    json.dumps(entry(boxes=[[1, 1, 2, 2]] * 4)).encode(): NO_LINE,
    json.dumps(entry(boxes=[[1, 1, 2]] * 3)).encode(): NO_LINE,
    json.dumps(entry(boxes=[1, 2, 3])).encode(): NO_LINE,
    json.dumps(entry(boxes=None) | {"boxes_xywh": None}).encode(): NO_LINE,
    json.dumps(
        entry(boxes=[["1", "1", "2", "2"]] * 3)
    ).encode(): "corner is not a pair of numbers within reach",
    json.dumps(
        entry(boxes=[[float("nan")] * 4] * 3)
    ).encode(): "corner is not a pair of numbers within reach",
    json.dumps(
        entry(boxes=[[1, 1, 10**9, 1]] * 3)
    ).encode(): "corner is not a pair of numbers within reach",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:30].decode("latin-1"))
def test_a_bad_line_is_dropped_and_counted(folder, line):
    opened = BoxedFolder(folder(line, entry(), b" "), label_filter())  # blank ones are none
    assert len(opened) == 1
    assert opened.report.dropped == {BAD_LINES[line]: 1}
    assert opened.report.examples[BAD_LINES[line]] == ["line 1"]
    assert opened.report.with_boxes == 1


def test_labels_are_filtered_as_everywhere(folder):
    lines = [entry(), entry(chars="longer"), entry(chars="!!"), entry(chars="é1")]
    opened = BoxedFolder(folder(*lines), label_filter(length=4))
    assert [opened.read(int(n))[1] for n in opened.numbers] == ["cat", "1"]
    assert opened.report.dropped == {
        "longer than 4 characters": 1,
        "no character of the charset in it": 1,
    }
    assert opened.report.altered == 1


def test_a_missing_file_of_boxes_or_nothing_in_it_is_said(tmp_path, folder):
    with pytest.raises(DataError, match=r"There is no .*char_boxes\.jsonl"):
        BoxedFolder(tmp_path / "none", label_filter())
    with pytest.raises(DataError, match="Nothing is left of the 1 records"):
        BoxedFolder(folder(b"?"), label_filter())
    with pytest.raises(DataError, match="Nothing is left of the 0 records"):
        BoxedFolder(folder(), label_filter())


def test_missing_and_broken_images_are_passed_over(folder):
    place = folder(entry("none.png"), entry("broken.png"), entry(), entry("."))
    (place / "broken.png").write_bytes(b"no image")
    opened = BoxedFolder(place, label_filter())
    assert opened.read(0) == (None, "cat")
    dataset = EvaluationDataset(opened, ImageFormat(), opened.numbers, core_areas=True)
    (batch,) = evaluation_loader(dataset, 4, workers=0)
    assert batch.texts == ["cat"]
    assert len(batch.passed_over) == 3
    missing, broken, _ = batch.passed_over
    assert missing == f"{place / 'none.png'}: there is no image"
    assert broken.startswith(f"{place / 'broken.png'}: ")
    assert batch.has_core_area.tolist() == [True]
    boxes = opened.read_with_boxes(2)[2]
    np.testing.assert_array_equal(batch.core_area[0, 0], draw_core_areas(boxes, (60, 20), 32, 128))


def test_characters_that_compose_have_no_box_each(folder):
    opened = BoxedFolder(folder(entry(chars="e\u0301a")), LabelFilter(Charset("aé"), 25))
    assert opened.read(0)[1] == "éa"
    with pytest.raises(BoxesError, match="disagree"):
        opened.read_with_boxes(0)


def test_real_boxes_are_nearly_all_usable(shared, record_property):
    place = shared / "real" / "training" / "iiit5k_train"
    if not (place / BOXES_FILE).is_file():
        pytest.skip("needs the real training words")
    lines = (place / BOXES_FILE).read_bytes().splitlines()
    opened = BoxedFolder(place, label_filter("94"))
    usable = drawn = 0
    for number in opened.numbers:
        try:
            image, text, boxes = opened.read_with_boxes(int(number))
        except BoxesError:
            continue
        usable += image is not None and len(boxes) == len(text)
        drawn += bool(draw_core_areas(boxes, (100, 50), 32, 128).any())
    record_property("usable", f"{usable} of {len(lines)}")
    print(f"{usable} of {len(lines)} lines are usable")
    assert usable >= 0.99 * len(lines)
    assert drawn >= 0.9 * usable
