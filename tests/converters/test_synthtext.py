"""SynthText: gt.mat and photos to word crops with character boxes."""

import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from converters.columns import QuadColumn, TextColumn
from converters.conversion import convert
from converters.crops import crop_hull, rectify
from converters.scenes import Cutting
from converters.synthtext import SynthText
from lmdb_file import DataError
from progress import RunLog

ROOT = Path(__file__).resolve().parents[2]
SLANTED = [[40.0, 20.0], [120.0, 40.0], [112.0, 70.0], [32.0, 50.0]]
SILENT = RunLog(enabled=False)


@pytest.fixture
def source(tmp_path, save_synthtext, draw):
    """Opens a SynthText of some images; their photos are drawn with the words' quads in red."""

    def make(*images, rectify=False, photos=True, quality=95, **changed):
        for path, _, quads, _ in images if photos else ():
            draw(tmp_path / "in" / path, [(quad, "red") for quad in quads])
        (tmp_path / "in").mkdir(exist_ok=True)
        save_synthtext(tmp_path / "in" / "gt.mat", images, **changed)
        return SynthText(
            tmp_path / "in" / "gt.mat", Cutting(tmp_path / "in", quality, rectify), SILENT
        )

    return make


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


def many(scene, box, count=60):
    return [
        scene(f"{k % 3}/{k}.jpg", [(f"w{k}", box(5, 5 + j, 45 + k, 25 + j)) for j in range(3)])
        for k in range(count)
    ]


def test_any_number_of_processes_writes_the_same(source, scene, box, converted, tmp_path):
    made = source(*many(scene, box, 20))
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


def test_an_exception_in_the_middle_costs_nothing(
    source, scene, box, converted, tmp_path, monkeypatch
):
    monkeypatch.setattr("lmdb_writer.COMMIT_EVERY", 10)
    made = source(*many(scene, box))
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
import lmdb_writer
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


def test_a_killed_run_goes_on(source, scene, box, converted, read_lmdb, tmp_path):
    made = source(*many(scene, box, 100))
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


def test_other_options_are_another_job(source, scene, box, converted, tmp_path, monkeypatch):
    monkeypatch.setattr("lmdb_writer.COMMIT_EVERY", 10)
    images = many(scene, box)
    made = source(*images)
    healthy = made.convert
    made.convert = lambda task: 1 / 0 if "/50." in task[2].path else healthy(task)
    with pytest.raises(ZeroDivisionError):
        convert(made, tmp_path / "out", 1, SILENT)
    with pytest.raises(FileExistsError, match="another job"):
        convert(source(*images, quality=50), tmp_path / "out", 1, SILENT)
    with pytest.raises(FileExistsError, match="another job"):
        convert(source(*images, rectify=True), tmp_path / "out", 1, SILENT)


def test_columns_are_compact_and_empty_their_cells():
    rng = np.random.default_rng(0)
    count = 20_000
    given = rng.random((count, 2, 4, 3)).astype(np.float32)
    cells = np.empty(count, object)
    texts = np.empty(count, object)
    for number in range(count):
        cells[number] = given[number].copy()
        texts[number] = np.array(["two words", f"and {number}"])
    tracemalloc.start()
    quads, lines = QuadColumn(cells), TextColumn(texts)
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    payload = given.nbytes + sum(len(f"two words\nand {n}") for n in range(count))
    assert size < 1.25 * payload
    assert peak < 1.5 * payload
    assert all(cell is None for cell in (*cells, *texts))
    assert quads[777].dtype == np.float32
    np.testing.assert_array_equal(quads[777], given[777].transpose(2, 1, 0))
    assert lines[777] == "two words\nand 777"
    assert len(quads) == len(lines) == count


def test_a_task_carries_only_its_own_images(source, scene, box):
    made = source(*many(scene, box, 200), photos=False)
    tasks = list(made.tasks(0))
    assert len(tasks) == len(made) == 25
    assert max(len(pickle.dumps(task)) for task in tasks) < 8 * 1500
    assert len(pickle.dumps(made.convert)) < 1000
    assert [image.path for task in made.tasks(20) for image in task] == [
        f"{k % 3}/{k}.jpg" for k in range(160, 200)
    ]


def test_odd_cells_count_as_empty():
    cells = np.empty(6, object)
    cells[:] = [
        np.zeros((2, 4)),
        np.zeros((4, 2)),
        np.array(["text"]),
        5,
        np.zeros((2, 4, 0)),
        None,
    ]
    assert [len(QuadColumn(cells.copy())[k]) for k in range(6)] == [1, 0, 0, 0, 0, 0]
    nested = np.empty((1, 2), object)
    nested[0] = [np.array(["a b"]), np.array(["c"])]
    texts = np.empty(4, object)
    texts[:] = [nested, np.zeros(3), None, np.array(["\ud800"])]
    column = TextColumn(texts)
    assert [column[k] for k in range(4)] == ["a b\nc", "", "", "\ud800"]


def test_half_a_surrogate_pair_is_no_label(source, scene, box, converted, labels, tmp_path):
    made = source(scene("1/a.jpg", [("ab", box(5, 5, 35, 20)), ("cd", box(5, 30, 35, 45))]))
    made._columns[1] = [("\ud800b cd")]
    report, stored = converted(made, tmp_path / "out")
    assert labels(stored) == ["cd"]
    assert report.dropped == {"label is not Unicode": 1}
    str(report).encode("utf-8")


def test_missing_variables_name_those_that_are_there(source, scene, box):
    with pytest.raises(DataError, match=r"lacks the variables charBB; it has .*wordBB"):
        source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]), charBB=None)


def test_other_variables_are_no_cells(source, scene, box):
    with pytest.raises(DataError, match=r"wordBB of .* is no cell array"):
        source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]), wordBB=np.zeros((2, 4)))


def test_lengths_must_agree(source, scene, box):
    paths = np.empty((1, 2), object)
    paths[0] = [np.array(["a"]), np.array(["b"])]
    with pytest.raises(DataError, match="different lengths: imnames 2, txt 1"):
        source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]), imnames=paths)


def test_a_file_of_version_7_3_says_what_to_do(tmp_path):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "gt.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DataError, match=r"version 7\.3 \(HDF5\).*-v7'"):
        SynthText(tmp_path / "gt.mat", Cutting(tmp_path, 95), SILENT)


@pytest.mark.parametrize("length", [0, 3, 100, 128, 200, 1000])
def test_a_damaged_file_is_a_sentence(source, scene, box, tmp_path, length):
    source(*many(scene, box, 20))
    file = tmp_path / "in/gt.mat"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match=r"can't be read as a MATLAB file|lacks the variables"):
        SynthText(file, Cutting(tmp_path, 95), SILENT)


def test_noise_in_the_file_never_crashes(source, scene, box, tmp_path):
    source(*many(scene, box, 5))
    file = tmp_path / "in/gt.mat"
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            SynthText(file, Cutting(tmp_path, 95), SILENT)
            outcomes.add("read")
        except DataError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_a_missing_file_says_what_it_has(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*gt\.mat, which has the MATLAB"):
        SynthText(tmp_path / "gt.mat", Cutting(tmp_path, 95), SILENT)


def test_scipy_reads_one_variable_at_a_time(source, scene, box, monkeypatch):
    asked = []
    loadmat = scipy.io.loadmat

    def spy(file, variable_names, **options):
        asked.append(variable_names)
        return loadmat(file, variable_names=variable_names, **options)

    monkeypatch.setattr(scipy.io, "loadmat", spy)
    source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]))
    assert asked == [["imnames"], ["txt"], ["wordBB"], ["charBB"]]
