"""The core area moves exactly as the image does, whatever the operation."""

import cv2
import numpy as np
import pytest

from augmentation import GROUPS, OPERATIONS, Augmenter
from augmentation.moves import Move, MovedCoreArea, pixel_axes, scale_and_shift

MOVING = [
    *(operation.name for group in ("warp", "geometry") for operation in GROUPS[group]),
    "TranslateX",
    "TranslateY",
]
BLURRED = ["MotionBlur", "ZoomBlur"]  # and moved
STILL = [name for name in OPERATIONS if name not in (*MOVING, *BLURRED)]
SEEDS = range(8)


def boxes(scale: int = 1) -> np.ndarray:
    """Three boxes of ones, clear of the edges, uint8 [32 * scale, 128 * scale]."""
    area = np.zeros((32, 128), np.uint8)
    area[9:23, 24:38] = 1
    area[7:20, 56:66] = 1
    area[12:25, 90:104] = 1
    return area.repeat(scale, 0).repeat(scale, 1)


def as_image(area: np.ndarray) -> np.ndarray:
    return cv2.merge((area, area, area)) * 255


def seen(image: np.ndarray) -> np.ndarray:
    """Where the image is light, bool [H, W]."""
    return image.mean(axis=2) > 127


def pixels_apart(one: np.ndarray, other: np.ndarray) -> int:
    """How often each area must be dilated to cover the other."""
    assert one.any()
    assert other.any()
    square = np.ones((3, 3), np.uint8)
    grown_one, grown_other = one.astype(np.uint8), other.astype(np.uint8)
    for steps in range(20):
        if not (one & (grown_other == 0)).any() and not (other & (grown_one == 0)).any():
            return steps
        grown_one, grown_other = cv2.dilate(grown_one, square), cv2.dilate(grown_other, square)
    return 20


def centroid(weights: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(weights.shape)
    return np.array([(rows * weights).sum(), (columns * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("magnitude", [0, 1, 2])
@pytest.mark.parametrize("name", MOVING)
def test_the_core_area_stays_on_its_content(name, magnitude):
    area = boxes()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        image, moved = OPERATIONS[name](as_image(area), area, magnitude, rng)
        assert pixels_apart(seen(image), moved > 0) <= 1, f"seed {seed}"


@pytest.mark.parametrize("name", MOVING)
def test_moving_operations_do_move(name):
    area = boxes()
    _, moved = OPERATIONS[name](as_image(area), area, 2, np.random.default_rng(0))
    assert pixels_apart(area > 0, moved > 0) >= 2


@pytest.mark.parametrize("magnitude", [0, 1, 2])
def test_the_core_area_follows_a_motion_blur(magnitude):
    area = boxes()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        image, moved = OPERATIONS["MotionBlur"](as_image(area), area, magnitude, rng)
        drift = centroid(image.mean(axis=2)) - centroid(moved)
        assert np.abs(drift).max() < 0.7, f"seed {seed}"  # rounded to the pixel, cut to 8 bit
        assert moved.sum() == area.sum()


@pytest.mark.parametrize("magnitude", [0, 1, 2])
def test_the_core_area_follows_a_zoom_blur(magnitude):
    at_the_end = np.zeros((32, 128), np.uint8)
    at_the_end[12:20, 108:120] = 1
    for area in (boxes(), at_the_end):
        rng = np.random.default_rng(0)
        image, moved = OPERATIONS["ZoomBlur"](as_image(area), area, magnitude, rng)
        assert pixels_apart(seen(image), moved > 0) <= 1
        assert pixels_apart(area > 0, moved > 0) >= 2
    # Of the last, the only box.
    assert np.abs(centroid(image.mean(axis=2)) - centroid(moved)).max() < 1


@pytest.mark.parametrize("magnitude", [0, 1, 2])
@pytest.mark.parametrize("name", ["GaussianBlur", "DefocusBlur", "Pixelate"])
def test_other_blurs_leave_the_content_in_its_place(name, magnitude):
    area = boxes()
    image, _ = OPERATIONS[name](as_image(area), area, magnitude, np.random.default_rng(0))
    assert pixels_apart(seen(image), area > 0) <= 1


@pytest.mark.parametrize("magnitude", [0, 1, 2])
def test_glass_blur_does_not_drift(magnitude):
    area = boxes()
    rng = np.random.default_rng(0)
    drifts = []
    for _ in range(40):
        image, _ = OPERATIONS["GlassBlur"](as_image(area), area, magnitude, rng)
        drifts.append(centroid(image.mean(axis=2)) - centroid(area))
        overlap = (seen(image) & (area > 0)).sum() / (seen(image) | (area > 0)).sum()
        assert overlap > 0.75
    assert np.abs(np.mean(drifts, axis=0)).max() < 0.2  # the reference's is 1 right, 1 down


@pytest.mark.parametrize("magnitude", [0, 1, 2])
@pytest.mark.parametrize("name", STILL)
def test_where_nothing_moves_the_core_area_stays(name, magnitude):
    area = boxes()
    _, still = OPERATIONS[name](as_image(area), area, magnitude, np.random.default_rng(3))
    assert np.array_equal(still, area)
    assert still is not area


@pytest.mark.parametrize("name", OPERATIONS)
def test_without_a_core_area_the_image_is_the_same(name):
    area = boxes()
    operation, image = OPERATIONS[name], as_image(area)
    alone, nothing = operation(image, None, 1, np.random.default_rng(5))
    together, _ = operation(image, area, 1, np.random.default_rng(5))
    assert nothing is None
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("name", [*MOVING, *BLURRED])
def test_no_values_are_invented(name):
    """Class labels survive: nearest interpolation, 0 from outside."""
    area = boxes()
    labels = np.where(area > 0, np.arange(128, dtype=np.uint8) // 40 * 77 + 1, 0).astype(np.uint8)
    _, moved = OPERATIONS[name](as_image(area), labels, 2, np.random.default_rng(1))
    assert set(np.unique(moved)) <= set(np.unique(labels))


@pytest.mark.parametrize("mode", ["scatter", "two moves"])
def test_moves_in_a_row_keep_the_core_area_on_its_content(mode):
    area = boxes()
    if mode == "two moves":
        augment = Augmenter(intact_probability=0)
        augment.choices = (GROUPS["warp"], GROUPS["geometry"])
    else:
        augment = Augmenter(mode, intact_probability=0)
    for sample in range(60):
        image, moved = augment(as_image(area), area, 0, sample)
        plan = [(operation.name, magnitude) for operation, magnitude in augment.plan(0, sample)]
        assert pixels_apart(seen(image), moved > 0) <= 1, f"sample {sample}: {plan}"


def test_moves_and_a_blur_in_a_row_leave_no_core_area_behind():
    area = boxes()
    augment = Augmenter(intact_probability=0)
    augment.choices = (GROUPS["warp"], GROUPS["geometry"], tuple(map(OPERATIONS.get, BLURRED)))
    drifts = []
    for sample in range(300):
        image, moved = augment(as_image(area), area, 0, sample)
        drifts.append(np.abs(centroid(image.mean(axis=2)) - centroid(moved > 0)).max())
    assert np.mean(drifts) < 0.55  # a smear has no place to the pixel


def test_what_a_move_loses_does_not_come_back():
    to_the_edge = np.zeros((32, 128), np.uint8)
    to_the_edge[:, :6] = 7
    moved = MovedCoreArea(to_the_edge)
    for shift in (4, -4):  # to the left and back
        moved.follow(scale_and_shift(32, 128, 1, shift, 0))
    assert not moved.result()[:, :4].any()
    assert (moved.result()[:, 4:6] == 7).all()
    assert not moved.result()[:, 6:].any()


def test_thin_core_areas_do_not_fade_away():
    strip = np.zeros((32, 128), np.uint8)
    strip[10:22, 64] = 5
    moved = MovedCoreArea(strip)
    x, y = (np.broadcast_to(axis, strip.shape) for axis in pixel_axes(*strip.shape))
    for _ in range(2):
        moved.follow(Move(x + np.float32(0.4), y.copy(), cv2.INTER_LINEAR))
    assert np.array_equal(moved.result(), np.roll(strip, -1, axis=1))


def test_a_core_area_that_nothing_moves_is_not_touched():
    area = boxes()
    augment = Augmenter("selected", intact_probability=0, groups=("noise", "process"))
    image, still = augment(as_image(area), area, 0, 0)
    assert still is area and not np.array_equal(image, as_image(area))


@pytest.mark.parametrize("name", MOVING)
def test_moves_grow_with_the_image(name):
    """At twice the size the same draw does the same, but for the rounding of a small pixel."""
    small, large = boxes(), boxes(scale=2)
    operation = OPERATIONS[name]
    _, small = operation(as_image(small), small, 1, np.random.default_rng(2))
    _, large = operation(as_image(large), large, 1, np.random.default_rng(2))
    assert pixels_apart(small.repeat(2, 0).repeat(2, 1) > 0, large > 0) <= 2
