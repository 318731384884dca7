"""SynthText: gt.mat and photos to word crops with character boxes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from console.progress import RunLog
from converters.conversion import convert
from converters.crops import crop_hull, rectify
from lmdb_tools.record_check import Rules
from lmdb_tools.tree_check import check_tree
from records.lmdb_file import DataError
from text import Charset

ROOT = Path(__file__).resolve().parents[2]
SLANTED = [[40.0, 20.0], [120.0, 40.0], [112.0, 70.0], [32.0, 50.0]]
SILENT = RunLog(enabled=False)


def test_words_are_cut_out_with_their_characters_boxes(
    source, scene, box, converted, labels, boxes, pixels, tmp_path
):
    words = [("Hello,", box(10.4, 20.6, 70.2, 40.3)), ("you", box(10, 50, 40, 62))]
    more = [("all", box(100, 70, 130, 90))]
    made = source(
        scene("8/a_1.jpg", words + more, strings=["Hello,  you\n", " all\n"]),
        scene("9/b_2.jpg", [("one", box(5, 6, 35, 18))]),
    )
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["Hello,", "you", "all", "one"]
    assert pixels(stored, 1).shape == (21, 61, 3)  # floor and ceil
    assert pixels(stored, 2).shape == (12, 30, 3)
    assert boxes(stored, 2) == [
        ["y", 0, 0, 10, 0, 10, 12, 0, 12],
        ["o", 10, 0, 20, 0, 20, 12, 10, 12],
        ["u", 20, 0, 30, 0, 30, 12, 20, 12],
    ]
    first = boxes(stored, 1)
    assert "".join(character for character, *_ in first) == "Hello,"
    np.testing.assert_allclose(first[0][1:5], [0.4, 0.6, 0.4 + 59.8 / 6, 0.6], atol=0.02)
    assert (report.written, report.with_boxes, report.dropped, report.remarks) == (4, 4, {}, {})


def test_a_slanted_word_keeps_its_slant_or_is_rectified(
    source, scene, converted, boxes, pixels, draw, tmp_path
):
    image = scene("1/a.jpg", [("ab", SLANTED)])
    photo = tmp_path / "in/1/a.jpg"
    left, right = image[3]
    for upright in (False, True):
        made = source(image, rectify=upright)
        draw(photo, [(left, "red"), (right, "blue")])
        _, stored = converted(made, tmp_path / f"out{upright}")
        crop = pixels(stored, 1)
        for (_, *corners), channel in zip(boxes(stored, 1), (0, 2), strict=True):
            centre = np.reshape(corners, (4, 2)).mean(0)
            inside = (np.reshape(corners, (4, 2)) - centre) * 0.75 + centre
            for x, y in inside:
                colour = crop[int(y), int(x)].astype(int)
                assert colour[channel] > 150, (upright, x, y, colour)
                assert colour[2 - channel] < 110
        if upright:
            assert crop.shape == (31, 82, 3)  # the edges are 82.5 and 31.05 long
            np.testing.assert_allclose(
                boxes(stored, 1)[0][1:], [0, 0, 41, 0, 41, 31, 0, 31], atol=0.02
            )
            assert (np.abs(crop[2:-2, 3:38] - (254, 0, 0)) < 40).all()  # no background is left
        else:
            assert crop.shape == (50, 88, 3)
            np.testing.assert_allclose(boxes(stored, 1)[0][1:3], [8, 0], atol=0.02)


def test_a_homography_moves_boxes_and_pixels_alike(
    source, scene, converted, boxes, pixels, draw, tmp_path
):
    trapezium = [[20.0, 30.0], [180.0, 10.0], [180.0, 110.0], [20.0, 60.0]]
    spot = [[120.0, 40.0], [140.0, 40.0], [140.0, 60.0], [120.0, 60.0]]
    path, strings, quads, _ = scene("1/a.jpg", [("a", trapezium)])
    made = source((path, strings, quads, [spot]), rectify=True)
    draw(tmp_path / "in" / path, [([(x, y) for x, y in spot], "white")])
    _, stored = converted(made, tmp_path / "out")
    bright = np.argwhere(pixels(stored, 1).min(2) > 170)
    corners = np.reshape(boxes(stored, 1)[0][1:], (4, 2))
    centre = bright.mean(0)[::-1] + 0.5
    np.testing.assert_allclose(centre, corners.mean(0), atol=1)
    np.testing.assert_allclose(bright.min(0)[::-1], corners.min(0), atol=2)
    np.testing.assert_allclose(bright.max(0)[::-1] + 1, corners.max(0), atol=2)
    assert abs(corners.mean(0)[0] - 110) > 10  # perspective has an effect at all


@pytest.mark.parametrize("turns", range(4))
def test_a_turned_quad_is_turned_back(box, turns):
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    quad = np.array(box(10.0, 20.0, 70.0, 45.0))
    turned = np.roll(quad, -turns, axis=0)
    warped = rectify(photo, turned)
    np.testing.assert_array_equal(warped.pixels, np.rot90(crop_hull(photo, quad).pixels, turns))
    height, width = warped.pixels.shape[:2]
    np.testing.assert_allclose(warped.place(turned), box(0, 0, width, height), atol=1e-6)


def test_what_is_beyond_the_photo_is_cut_off(
    source, scene, box, converted, boxes, pixels, tmp_path
):
    made = source(scene("1/a.jpg", [("ab", box(-10, -5, 30, 15)), ("c", box(190, 100, 240, 140))]))
    _, stored = converted(made, tmp_path / "out")
    assert pixels(stored, 1).shape == (15, 30, 3)
    assert boxes(stored, 1)[0][1:5] == [-10, -5, 10, -5]
    assert pixels(stored, 2).shape == (20, 10, 3)


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("quad", "rectify", "reason"),
    [
        ((300, 20, 340, 40), False, "word is outside of its image"),
        ((-50, -50, -10, -10), True, "word is outside of its image"),
        ((10, 10, 11, 40), False, "word is too small"),
        ((10, 10, 10, 10), True, "word is too small"),
        ((199, 10, 250, 40), False, "word is too small"),
        ((NAN, 10, 20, 40), False, "word box is not finite"),
        ((10, 10, INFINITY, 40), True, "word box is not finite"),
        ((10, 10, 3e38, 40), False, "word box is too far from its image"),
        ((-9e5, 10, 9e5, 40), True, "word box is far larger than its image"),
        ((40, 10, 10, 30), True, "word box is not convex and clockwise"),
    ],
)
def test_words_without_a_place_are_dropped(
    source, scene, box, converted, labels, draw, quad, rectify, reason, tmp_path
):
    words = [("lost", box(*quad)), ("kept", box(10, 60, 50, 80))]
    made = source(scene("1/a.jpg", words), photos=False, rectify=rectify)
    draw(tmp_path / "in/1/a.jpg")
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["kept"]
    assert report.dropped == {reason: 1}
    assert report.examples[reason][0].startswith("1/a.jpg: lost")


def test_a_bow_tie_is_not_warped(source, scene, converted, tmp_path, draw):
    bow_tie = [[10.0, 10.0], [60.0, 10.0], [10.0, 40.0], [60.0, 40.0]]
    made = source(scene("1/a.jpg", [("x", bow_tie)]), rectify=True)
    with pytest.raises(DataError, match="1: word box is not convex and clockwise"):
        converted(made, tmp_path / "out")


def test_numbers_of_words_and_boxes_must_agree(source, scene, box, converted, labels, tmp_path):
    quads = [("one", box(5, 5, 35, 20)), ("two", box(5, 30, 35, 45))]
    made = source(
        scene("1/few.jpg", quads, strings=["one two three"]),
        scene("1/many.jpg", quads, strings=["one"]),
        scene("1/good.jpg", quads),
        scene("1/none.jpg", [], strings=["one two"]),
    )
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["one", "two"]
    assert report.dropped == {"words and word boxes disagree": 3 + 2 + 2}
    assert report.examples["words and word boxes disagree"][0] == "1/few.jpg: 3 words, 2 boxes"


def test_wrong_character_boxes_are_left_out(source, scene, box, converted, labels, boxes, tmp_path):
    words = [("one", box(5, 5, 35, 20)), ("two", box(5, 60, 35, 75))]
    path, strings, quads, characters = scene("1/a.jpg", words)
    swapped = characters[3:] + characters[:3]
    far = [*characters[:2], box(5, 5, 3e8, 20), *characters[3:]]
    infinite = [*characters[:2], box(5, 5, float("inf"), 20), *characters[3:]]
    # A mean of no number and a mean of opposites are no places either.
    opposite = [*characters[:2], box(-3e38, 5, 3e38, 20), *characters[3:]]
    made = source(
        ("1/short.jpg", strings, quads, characters[:-1]),
        ("1/empty.jpg", strings, quads, []),
        ("1/swapped.jpg", strings, quads, swapped),
        ("1/far.jpg", strings, quads, far),
        ("1/infinite.jpg", strings, quads, infinite),
        ("1/opposite.jpg", strings, quads, opposite),
        (path, strings, quads, characters),
    )
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["one", "two"] * 7
    has_boxes = [boxes(stored, number) is not None for number in range(1, 15)]
    assert has_boxes == [False] * 6 + [False, True] * 3 + [True, True]
    assert report.remarks == {
        "characters and character boxes disagree": 4,
        "character boxes are outside of their word": 5,
    }
    assert report.examples["characters and character boxes disagree"][0] == (
        "1/short.jpg: 6 characters, 5 boxes"
    )
    assert report.with_boxes == 5
    assert not report.dropped


def test_photos_that_are_no_use(source, scene, box, converted, labels, draw, tmp_path):
    words = [("one", box(5, 5, 35, 20)), ("two", box(5, 60, 35, 75))]
    paths = ("1/good.jpg", "1/none.jpg", "1/cut.jpg", "../up.jpg", "1/text.jpg", "", "1/\0.jpg")
    made = source(*(scene(path, words) for path in paths), photos=False)
    draw(tmp_path / "in/1/good.jpg")
    (tmp_path / "up.jpg").write_bytes((tmp_path / "in/1/good.jpg").read_bytes())
    (tmp_path / "in/1/cut.jpg").write_bytes((tmp_path / "in/1/good.jpg").read_bytes()[:700])
    (tmp_path / "in/1/text.jpg").write_text("no image")
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["one", "two"]
    assert report.dropped == {
        "no such image": 6,
        "unreadable image": 4,
        "path leads out of the folder": 2,
    }
    assert "0x" not in str(report)


def test_any_number_of_processes_writes_the_same(source, many, converted, tmp_path):
    made = source(*many(20))
    one = converted(made, tmp_path / "one", jobs=1)
    two = converted(made, tmp_path / "two", jobs=2)
    assert one == two
    assert one[0].written == 60


def test_quality_decides_about_the_bytes(source, scene, box, converted, tmp_path):
    image = scene("1/a.jpg", [("one", SLANTED)])
    sizes = []
    for quality in (30, 95):
        _, stored = converted(source(image, quality=quality), tmp_path / str(quality))
        sizes.append(len(stored[b"image-000000001"]))
    assert sizes[0] < sizes[1]


def test_an_exception_in_the_middle_costs_nothing(source, many, converted, tmp_path, monkeypatch):
    monkeypatch.setattr("records.lmdb_writer.COMMIT_EVERY", 10)
    made = source(*many())
    undisturbed = converted(made, tmp_path / "undisturbed")
    healthy = made.convert
    seen = []

    def fails(task):
        seen.append(task)
        if len(seen) == 4:
            raise RuntimeError("power cut")
        return healthy(task)

    made.convert = fails
    with pytest.raises(RuntimeError):
        convert(made, tmp_path / "out", 1, SILENT)
    assert not (tmp_path / "out").exists()
    seen.clear()
    made.convert = lambda task: seen.append(task) or healthy(task)
    assert converted(made, tmp_path / "out") == undisturbed
    assert 0 < len(seen) < len(made)  # some had been done


SLOW = """
import sys, time
from records import lmdb_writer
from converters import scenes, synthtext
from tools.prepare_data import main
lmdb_writer.COMMIT_EVERY = 10
convert_scene = synthtext.convert_scene
def slowly(*arguments):
    time.sleep(0.02)
    return convert_scene(*arguments)
synthtext.convert_scene = slowly
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on(source, many, converted, read_lmdb, tmp_path):
    made = source(*many(100))
    report, undisturbed = converted(made, tmp_path / "undisturbed")
    options = ["synthtext", "--input", tmp_path / "in", "--output", tmp_path / "out", "--jobs", "1"]
    killed = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, options)], cwd=ROOT, stdout=subprocess.PIPE
    )
    data = tmp_path / "out.partial" / "data.mdb"
    deadline = time.monotonic() + 30
    while not (data.is_file() and data.stat().st_size > 60_000):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "out").exists()
    done = subprocess.run(
        [sys.executable, "tools/prepare_data.py", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "going on after" in done.stdout
    assert str(report) in done.stdout
    assert read_lmdb(tmp_path / "out") == undisturbed
    assert not (tmp_path / "out.partial").exists()


def test_other_options_are_another_job(source, many, converted, tmp_path, monkeypatch):
    monkeypatch.setattr("records.lmdb_writer.COMMIT_EVERY", 10)
    images = many()
    made = source(*images)
    healthy = made.convert
    made.convert = lambda task: 1 / 0 if "/50." in task[2].path else healthy(task)
    with pytest.raises(ZeroDivisionError):
        convert(made, tmp_path / "out", 1, SILENT)
    with pytest.raises(FileExistsError, match="another job"):
        convert(source(*images, quality=50), tmp_path / "out", 1, SILENT)
    with pytest.raises(FileExistsError, match="another job"):
        convert(source(*images, rectify=True), tmp_path / "out", 1, SILENT)


def test_half_a_surrogate_pair_is_no_label(source, scene, box, converted, labels, tmp_path):
    made = source(scene("1/a.jpg", [("ab", box(5, 5, 35, 20)), ("cd", box(5, 30, 35, 45))]))
    made._columns[1] = [("\ud800b cd")]
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["cd"]
    assert report.dropped == {"label is not Unicode": 1}
    str(report).encode("utf-8")


def test_words_that_the_photo_cuts_off_are_dropped(source, scene, box, converted, labels, tmp_path):
    words = [("four", box(-40, 10, 80, 30)), ("two", box(-5, 40, 40, 60))]
    made = source(scene("1/a.jpg", words))
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["two"]
    assert report.dropped == {"a character is outside of the photo": 1}


@pytest.mark.parametrize("rectify", [False, True])
def test_a_check_passes_on_what_was_converted(source, scene, box, converted, tmp_path, rectify):
    """Odd boxes, which are left out with a remark, among them."""
    path, strings, quads, characters = scene(
        "1/a.jpg",
        [("one", box(5, 5, 35, 20)), ("two", box(-5, 60, 35, 75)), ("four", box(-40, 90, 80, 110))],
    )
    characters[1] = box(1, 5, 4, 20)  # beside the word, though near
    images = (path, strings, quads, characters), scene("2/b.jpg", [("end", SLANTED)])
    made = source(*images, rectify=rectify)
    converted(made, tmp_path / "data/training/ST")
    rules = Rules(Charset.load("36"), 25, decode=True)
    checked = check_tree({tmp_path / "data/training/ST": "training"}, rules, 1, SILENT)
    assert checked.passed, checked.findings.counts


def test_words_of_letters_and_digits_alone(source, scene, box, converted, labels, tmp_path):
    words = ["it's", "Room", "caf\u00e9", "101"]
    quads = [box(5, 5 + 25 * k, 65, 25 + 25 * k) for k in range(4)]
    image = scene("1/a.jpg", list(zip(words, quads, strict=True)))
    report, stored = converted(source(image, letters_and_digits=True), tmp_path / "out")
    assert labels(stored) == ["Room", "101"]
    assert report.dropped == {"other than letters and digits": 2}
    assert report.with_boxes == 2  # each word has its own characters' boxes
