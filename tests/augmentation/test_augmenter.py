"""The composition: modes, options, purity, and the sizes of images it must bear."""

import multiprocessing
import pickle

import numpy as np
import pytest

from augmentation import GROUPS, MODES, OPERATIONS, Augmenter

SAMPLES = range(300)


def picture(height: int = 32, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """An image with all kinds of values and a core area, uint8 [H, W, 3] and [H, W]."""
    rng = np.random.default_rng(11)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    core_area = rng.integers(0, 2, (height, width), dtype=np.uint8)
    return image, core_area


def names(augmenter: Augmenter, sample: int) -> list[str]:
    return [operation.name for operation, _ in augmenter.plan(0, sample)]


def group_names(augmenter: Augmenter, sample: int) -> list[str]:
    return [operation.group for operation, _ in augmenter.plan(0, sample)]


def equal(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# Purity


def test_a_sample_is_a_function_of_seed_epoch_and_sample():
    image, core_area = picture()
    augment = Augmenter(intact_probability=0, seed=3)
    first = [augment(image, core_area, 2, sample) for sample in range(40)]
    small = picture(20, 50)
    augment(*small, 0, 0)  # neither other calls nor their order matter
    again = [Augmenter(intact_probability=0, seed=3)(image, core_area, 2, s) for s in range(40)]
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("change", [{"epoch": 1}, {"sample": 1}, {"seed": 1}])
def test_other_seeds_epochs_and_samples_draw_differently(change):
    def plans(seed=0, epoch=0, sample=0):
        augment = Augmenter(intact_probability=0, seed=seed)
        return [augment.plan(epoch, sample * 100 + index) for index in range(30)]

    same = sum(a == b for a, b in zip(plans(), plans(**change), strict=True))
    assert same < 5


def test_epochs_differ_even_with_the_same_operations():
    image, core_area = picture()
    augment = Augmenter("rotation", intact_probability=0)
    assert not equal(augment(image, core_area, 0, 5), augment(image, core_area, 1, 5))


@pytest.mark.parametrize("magnitude", [0, 1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_do_not_write_into_their_input(name, magnitude):
    image, core_area = picture()
    image_before, core_before = image.copy(), core_area.copy()
    result = OPERATIONS[name](image, core_area, magnitude, np.random.default_rng(1))
    assert not np.shares_memory(result[0], image)
    assert not np.shares_memory(result[1], core_area)
    result[0].fill(0)
    assert np.array_equal(image, image_before)
    assert np.array_equal(core_area, core_before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_any_memory_layout_will_do(name):
    """Pillow hands out arrays that cannot be written to, slicing such that are not contiguous."""
    image, core_area = picture()
    image.setflags(write=False)
    core_area.setflags(write=False)
    mirrored = image[:, ::-1], core_area[:, ::-1]
    copied = mirrored[0].copy(), mirrored[1].copy()
    operation = OPERATIONS[name]
    from_views = operation(*mirrored, 1, np.random.default_rng(1))
    from_copies = operation(*copied, 1, np.random.default_rng(1))
    assert equal(from_views, from_copies)


def test_numpys_global_generator_is_neither_used_nor_moved():
    image, core_area = picture()
    augment = Augmenter(intact_probability=0)
    results, states = [], []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state()[1].copy()
        results.append([augment(image, core_area, 0, sample) for sample in range(30)])
        states.append(np.array_equal(before, np.random.get_state()[1]))
    assert all(states)
    assert all(equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_pickling_changes_nothing(mode):
    image, core_area = picture()
    augment = Augmenter(mode, groups=("warp", "noise"), intact_probability=0, seed=9)
    copy = pickle.loads(pickle.dumps(augment))
    for sample in range(10):
        assert equal(augment(image, core_area, 1, sample), copy(image, core_area, 1, sample))


def test_a_spawned_worker_draws_the_same():
    image, core_area = picture()
    augment = Augmenter(intact_probability=0, seed=4)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = [pool.apply(augment, (image, core_area, 0, sample)) for sample in range(10)]
    here = [augment(image, core_area, 0, sample) for sample in range(10)]
    assert all(equal(a, b) for a, b in zip(here, there, strict=True))


# Modes


def test_the_eight_groups():
    sizes = {name: len(operations) for name, operations in GROUPS.items()}
    assert sizes == {
        "process": 7,
        "camera": 4,
        "noise": 4,
        "blur": 5,
        "weather": 5,
        "pattern": 5,
        "warp": 3,
        "geometry": 3,
    }
    assert all(operation.group == name for name, group in GROUPS.items() for operation in group)
    in_groups = {operation.name for group in GROUPS.values() for operation in group}
    assert set(OPERATIONS) - in_groups == {"TranslateX", "TranslateY"}


def test_random_mode_draws_different_groups_evenly_and_uses_every_operation():
    augment = Augmenter(intact_probability=0)
    drawn = [group_names(augment, sample) for sample in range(2000)]
    assert all(len(set(groups)) == len(groups) == 3 for groups in drawn)
    for position in range(3):
        counts = [sum(groups[position] == name for groups in drawn) for name in GROUPS]
        assert min(counts) > 0.75 * 2000 / 8
    used = {name for sample in range(2000) for name in names(augment, sample)}
    assert used == set(OPERATIONS) - {"TranslateX", "TranslateY"}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("semantic", [{"GaussianNoise"}, {"MotionBlur"}, {"Rotate", "Perspective", "Shrink"}]),
        ("rotation", [{"Rotate"}]),
        ("scatter", [{"Distort"}, {"Shrink"}]),
    ],
)
def test_small_modes_use_all_of_their_groups(mode, expected):
    augment = Augmenter(mode, number=3, intact_probability=0)
    used, orders = set(), set()
    for sample in SAMPLES:
        drawn = names(augment, sample)
        assert len(drawn) == len(expected)
        assert all(len(group & set(drawn)) == 1 for group in expected)
        used |= set(drawn)
        orders.add(tuple(drawn))
    assert used == set().union(*expected)
    assert len(orders) >= len(expected)  # in random order


def test_learning_mode_draws_three_of_its_four_groups():
    augment = Augmenter("learning", intact_probability=0)
    groups = [{"Distort"}, {"GaussianNoise"}, {"MotionBlur"}, {"Rotate", "Perspective"}]
    drawn = [set(names(augment, sample)) for sample in SAMPLES]
    assert all(len(operations) == 3 for operations in drawn)
    assert all(max(len(group & operations) for group in groups) == 1 for operations in drawn)
    assert set().union(*drawn) == set().union(*groups)


def test_selected_mode_applies_its_groups_in_the_fixed_order():
    augment = Augmenter("selected", groups=("geometry", "camera", "blur"), intact_probability=0)
    assert all(group_names(augment, s) == ["blur", "camera", "geometry"] for s in SAMPLES)
    everything = Augmenter("selected", groups=tuple(GROUPS), intact_probability=0)
    assert group_names(everything, 0) == [
        "process",
        "noise",
        "blur",
        "weather",
        "camera",
        "pattern",
        "warp",
        "geometry",
    ]


def test_after_a_curve_the_selected_mode_rotates_without_shrinking():
    augment = Augmenter("selected", groups=("warp", "geometry"), intact_probability=0)
    plans = [[operation for operation, _ in augment.plan(0, sample)] for sample in SAMPLES]
    after_curve = {second for first, second in plans if first.name == "Curve"}
    otherwise = {second for first, second in plans if first.name != "Curve"}
    assert OPERATIONS["Rotate"] in otherwise
    assert OPERATIONS["Rotate"] not in after_curve
    (on_canvas,) = (operation for operation in after_curve if operation.name == "Rotate")
    white = np.full((32, 128, 3), 255, np.uint8)
    kept, _ = on_canvas(white, None, 2, np.random.default_rng(0))
    shrunk, _ = OPERATIONS["Rotate"](white, None, 2, np.random.default_rng(0))
    assert kept.mean() > 1.2 * shrunk.mean()


# Options


@pytest.mark.parametrize("number", [1, 2, 8])
def test_number_says_how_many_groups(number):
    augment = Augmenter(number=number, intact_probability=0)
    assert all(len(augment.plan(0, sample)) == number for sample in SAMPLES)


def test_a_number_above_the_modes_groups_means_all():
    assert len(Augmenter(number=20, intact_probability=0).plan(0, 0)) == 8


@pytest.mark.parametrize("magnitude", [0, 1, 2])
def test_a_given_magnitude_is_used_for_all(magnitude):
    augment = Augmenter(magnitude=magnitude, intact_probability=0)
    assert {drawn for sample in SAMPLES for _, drawn in augment.plan(0, sample)} == {magnitude}


def test_without_a_magnitude_all_are_drawn_evenly():
    augment = Augmenter(intact_probability=0)
    drawn = [magnitude for sample in SAMPLES for _, magnitude in augment.plan(0, sample)]
    assert min(np.bincount(drawn, minlength=3)) > 0.27 * len(drawn)
    assert any(len({magnitude for _, magnitude in augment.plan(0, s)}) > 1 for s in SAMPLES)


@pytest.mark.parametrize(("probability", "low", "high"), [(0, 0, 0), (0.5, 0.4, 0.6), (1, 1, 1)])
@pytest.mark.parametrize("mode", MODES)
def test_intact_probability_is_the_share_left_alone(mode, probability, low, high):
    augment = Augmenter(mode, groups=("noise",), intact_probability=probability)
    share = np.mean([not augment.plan(0, sample) for sample in SAMPLES])
    assert low <= share <= high


def test_an_intact_sample_is_handed_through():
    image, core_area = picture()
    same_image, same_area = Augmenter(intact_probability=1)(image, core_area, 0, 0)
    assert same_image is image
    assert same_area is core_area


def test_an_augmented_sample_is_changed():
    image, core_area = picture()
    augment = Augmenter(magnitude=1, intact_probability=0)
    changes = [np.any(augment(image, core_area, 0, sample)[0] != image) for sample in range(50)]
    assert all(changes)


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "wild"}, "no augmentation mode 'wild'; use one of 'random'"),
        ({"number": 0}, "At least 1 .* not 0"),
        ({"magnitude": 3}, "magnitude 3; use 0, 1 or 2"),
        ({"magnitude": -1}, "magnitude -1"),
        ({"intact_probability": 1.5}, "between 0 and 1, not 1.5"),
        ({"intact_probability": float("nan")}, "between 0 and 1, not nan"),
        ({"seed": -1}, "0 or above, not -1"),
        ({"mode": "selected"}, "needs at least one augmentation group"),
        ({"mode": "selected", "groups": ("blur", "rust")}, "no augmentation group 'rust'; use"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        Augmenter(**options)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 128), np.uint8),
        np.zeros((32, 128, 3), np.float32),
        np.zeros((3, 32, 128), np.uint8),
        np.zeros((0, 128, 3), np.uint8),
    ],
    ids=["grey", "float", "channels first", "empty"],
)
def test_wrong_images_are_refused_even_when_left_intact(image):
    with pytest.raises(ValueError, match="needs an RGB image"):
        Augmenter(intact_probability=1)(image, None, 0, 0)


def test_a_core_area_of_another_size_is_refused():
    image, core_area = picture()
    with pytest.raises(ValueError, match=r"must be uint8 \[32, 128\]"):
        Augmenter()(image, core_area[:16], 0, 0)


def test_an_operation_refuses_an_unknown_magnitude():
    image, core_area = picture()
    with pytest.raises(ValueError, match="Fog has no magnitude 3"):
        OPERATIONS["Fog"](image, core_area, 3, np.random.default_rng(0))


# Sizes and values


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1, 200), (200, 1), (33, 127), (64, 256)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_takes_every_size(name, size):
    image, core_area = picture(*size)
    for magnitude in (0, 1, 2):
        for seed in range(3):
            rng = np.random.default_rng(seed)
            new_image, new_area = OPERATIONS[name](image, core_area, magnitude, rng)
            assert (new_image.shape, new_image.dtype) == (image.shape, np.uint8)
            assert (new_area.shape, new_area.dtype) == (core_area.shape, np.uint8)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("name", OPERATIONS)
def test_flat_images_pass_without_a_warning(name, value):
    flat = np.full((32, 128, 3), value, np.uint8)
    with np.errstate(all="raise"):
        for magnitude in (0, 1, 2):
            OPERATIONS[name](flat, None, magnitude, np.random.default_rng(0))
