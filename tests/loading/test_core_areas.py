"""Core areas: the official code's pixels, the number of each character, and boxes it misreads."""

import pickle
import time

import numpy as np
import pytest

from loading.core_areas import draw_core_areas, shrink_span
from records.char_boxes import BoxesError, CharBox, match_boxes
from records.official_labels import read_official_label
from text import Charset

MISREAD = ("rev", "quad")  # by the official code; each has a test below
SIZE = (128, 32)


def box(*numbers: float, character: str = "a") -> CharBox:
    return CharBox(character, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def draw(*boxes: CharBox, size=SIZE) -> np.ndarray:
    return draw_core_areas(boxes, size, 32, 128)


@pytest.fixture
def cases(fixtures):
    """Boxes, stored size and official mask (bool) of each fixture, by its word."""
    masks = fixtures("masks.npz")["masks"]
    return {
        case["word"]: (
            read_official_label(pickle.dumps(case["label"]))[1],
            tuple(case["size"]),
            masks[case["mask_index"]] > 0,
        )
        for case in fixtures("masks.json")["cases"]
    }


def test_upright_boxes_are_those_of_the_official_code(cases):
    compared = [word for word in cases if word not in MISREAD]
    assert len(compared) == 21
    for word in compared:
        boxes, size, expected = cases[word]
        area = draw(*boxes, size=size)
        assert (area.shape, area.dtype) == ((32, 128), np.uint8)
        np.testing.assert_array_equal(area > 0, expected, err_msg=word)


def test_sides_shrink_as_in_the_official_code(fixtures):
    for (x, y, width, height), expected in fixtures("masks.json")["shrink_box"]:
        (left, across), (top, down) = shrink_span(x, width), shrink_span(y, height)
        assert [left, top, across, down] == expected


def test_corners_in_any_order_are_the_same_box(cases):
    expected = draw(box(10, 4, 30, 28))
    assert expected[16, 20] == 1
    for corners in ((30, 28, 10, 4), (30, 4, 10, 28), (10, 28, 30, 4)):
        np.testing.assert_array_equal(draw(box(*corners)), expected)
    boxes, size, official = cases["rev"]
    assert not official.any()
    in_order = [box(*b.corners[1], *b.corners[0]) for b in boxes]
    area = draw(*boxes, size=size)
    assert set(np.unique(area)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(area, draw(*in_order, size=size))


def test_a_quad_is_filled_and_not_two_lines(cases):
    boxes, size, official = cases["quad"]
    area = draw(*boxes, size=size)
    assert np.count_nonzero(official) == 48
    for number, quad in enumerate(boxes, start=1):
        x, y = np.mean(quad.corners, axis=0)
        pixels = np.argwhere(area == number)
        # Half of a quad of 23 by 23 pixels, with the pixels of both edges.
        assert 11 * 11 <= len(pixels) <= 13 * 13
        np.testing.assert_allclose(pixels.mean(axis=0), (y, x), atol=0.6)


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("step", [1, -1])
def test_an_upright_quad_is_its_box_to_a_pixel(first, step):
    around = [(10, 4), (37, 4), (37, 29), (10, 29)]
    corners = [around[(first + step * k) % 4] for k in range(4)]
    quad, upright = draw(CharBox("a", tuple(corners))), draw(box(10, 4, 37, 29))
    for axis in (0, 1):
        one, other = np.flatnonzero(quad.any(axis)), np.flatnonzero(upright.any(axis))
        assert abs(one[0] - other[0]) <= 1
        assert abs(one[-1] - other[-1]) <= 1
    assert quad.sum() == (np.ptp(np.argwhere(quad), axis=0) + 1).prod()  # a full rectangle


def test_a_slanted_quad_keeps_its_slant():
    area = draw(box(40, 0, 80, 0, 60, 31, 20, 31))
    rows = np.flatnonzero(area.any(axis=1))
    left = [np.flatnonzero(area[row])[0] for row in rows]
    right = [np.flatnonzero(area[row])[-1] for row in rows]
    assert len(rows) in (15, 16, 17)
    assert left == sorted(left, reverse=True)
    assert left[0] - left[-1] in (9, 10, 11)
    assert all(19 <= r - e <= 22 for r, e in zip(right, left, strict=True))


def test_characters_are_numbered_and_later_ones_lie_above():
    area = draw(box(0, 0, 40, 31), box(10, 0, 50, 31), box(80, 0, 120, 31))
    np.testing.assert_array_equal(np.unique(area), [0, 1, 2, 3])
    assert (area[16, 12], area[16, 25], area[16, 100]) == (1, 2, 3)


def test_numbers_stop_at_255():
    area = draw(*[box(0, 0, 20, 31)] * 254, box(40, 0, 60, 31), *[box(80, 0, 100, 31)] * 40)
    assert (area[16, 10], area[16, 50], area[16, 90]) == (254, 255, 255)
    quads = draw(*[box(0, 0, 20, 0, 20, 31, 0, 31)] * 300)
    assert quads.max() == 255


def test_other_sizes_of_input_and_image():
    area = draw_core_areas([box(100, 50, 200, 150)], (400, 200), height=64, width=256)
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    assert area.shape == (64, 256)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (24, 40, 80, 112)


def test_no_boxes_are_an_empty_map():
    assert not draw().any()


def test_boxes_just_outside_leave_no_trace():
    outside = (box(-40, 0, -4, 31), box(0, -20, 127, -2), box(150, 0, 180, 31), box(0, 40, 127, 50))
    assert not draw(*outside).any()


FAR = 1e6


@pytest.mark.parametrize("size", [(1, 1), SIZE, (100_000, 3)])
@pytest.mark.parametrize(
    ("numbers", "covered"),
    [
        ((-FAR, -FAR, FAR, FAR), True),
        ((-FAR, -FAR, FAR, -FAR, FAR, FAR, -FAR, FAR), True),
        ((FAR / 2, FAR / 2, FAR, FAR), False),
        ((-FAR, -FAR, -FAR / 2, -FAR / 2), False),
        ((-FAR, 0, -FAR / 2, 31), False),
        ((0, -FAR, 127, -FAR / 2), False),
        ((FAR / 2, FAR / 2, FAR, FAR / 2, FAR, FAR, FAR / 2, FAR), False),
        ((-FAR, -FAR, -FAR / 2, -FAR, -FAR / 2, -FAR / 2, -FAR, -FAR / 2), False),
    ],
)
def test_boxes_far_outside_are_cut_and_cost_nothing(numbers, covered, size):
    started = time.process_time()
    area = draw(*[box(*numbers)] * 100, size=size)
    assert time.process_time() - started < 1
    assert (area == (100 if covered else 0)).all()


def test_boxes_of_a_word_with_one_lost_are_drawn_but_do_not_match(cases):
    boxes, size, expected = cases["dup"]
    assert len(boxes) == 2
    np.testing.assert_array_equal(draw(*boxes, size=size) > 0, expected)
    with pytest.raises(BoxesError, match="disagree"):
        match_boxes(boxes, "dup", Charset.load("36"))
