"""What single operations promise beyond their strength: the mended ones and the exact ones."""

import numpy as np
import pytest

from augmentation import OPERATIONS
from augmentation.motion import Trail
from augmentation.noise import COLUMNS, MOST, ROWS, poisson_table
from augmentation.texture import plasma


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ramp() -> np.ndarray:
    """All values, dull: uint8 [32, 128, 3] of 64..191."""
    return np.broadcast_to(np.arange(64, 192, dtype=np.uint8)[None, :, None], (32, 128, 3)).copy()


def apply(name, image, magnitude, rng):
    return OPERATIONS[name](image, None, magnitude, rng)[0]


@pytest.mark.parametrize("name", ["Equalize", "AutoContrast"])
def test_mended_tone_operations_use_the_whole_range(name, rng):
    spread = apply(name, ramp(), 0, rng)
    assert (spread.min(), spread.max()) == (0, 255)


def test_auto_contrast_leaves_a_flat_image_alone(rng):
    flat = np.full((32, 128, 3), 90, np.uint8)
    assert np.array_equal(apply("AutoContrast", flat, 0, rng), flat)


@pytest.mark.parametrize(("magnitude", "colours"), [(0, 4), (1, 16), (2, 128)])
def test_posterize_leaves_few_values(magnitude, colours, rng):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert len(np.unique(apply("Posterize", values, magnitude, rng))) <= colours


def test_brightness_keeps_the_hue(rng):
    image = np.full((4, 4, 3), (40, 80, 20), np.uint8)
    brighter = apply("Brightness", image, 0, rng)[0, 0]
    assert brighter.tolist() == [52, 105, 26]
    assert apply("Brightness", image * 0, 0, rng).max() == 25  # black has no hue: grey


@pytest.mark.parametrize(("magnitude", "share"), [(0, 0.4375), (1, 0.54), (2, 0.75)])
def test_grid_blackens_its_share(magnitude, share, rng):
    black = (apply("Grid", np.full((32, 128, 3), 255, np.uint8), magnitude, rng) == 0).mean()
    assert black == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("name", "shares"),
    [("RectGrid", (0.18, 0.20, 0.31)), ("EllipseGrid", (0.17, 0.22, 0.33))],
)
def test_rings_blacken_their_share(name, shares, rng):
    white = np.full((32, 128, 3), 255, np.uint8)
    for magnitude, share in enumerate(shares):
        assert (apply(name, white, magnitude, rng) == 0).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("Curve", (0.263, 0.280, 0.306)),
        ("Distort", (0.161, 0.233, 0.306)),
        ("Stretch", (0.067, 0.099, 0.131)),
        ("Rotate", (0.148, 0.334, 0.435)),
        ("Perspective", (0.151, 0.251, 0.355)),
        ("Shrink", (0.232, 0.374, 0.499)),
        ("TranslateX", (0.015, 0.045, 0.075)),
        ("TranslateY", (0.035, 0.104, 0.176)),
    ],
)
def test_the_black_border_is_as_large_as_the_references(name, shares, rng):
    white = np.full((32, 128, 3), 255, np.uint8)
    for magnitude, share in enumerate(shares):
        images = [apply(name, white, magnitude, rng) for _ in range(200)]
        assert np.mean([(image < 128).mean() for image in images]) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("radius", "sigma", "shift"), [(10, 3, 2.0), (12, 4, 2.8), (14, 5, 3.6)])
def test_the_motion_trail_shifts_as_far_as_the_references(radius, sigma, shift):
    x, y, weight = Trail(radius, sigma).taps(0)
    assert x @ weight == pytest.approx(shift, abs=0.1)
    assert not y.any()
    assert weight.sum() == pytest.approx(1)


@pytest.mark.parametrize("degrees", [-130, -45, 0, 20, 45, 170])
def test_the_motion_trail_comes_from_its_direction(degrees):
    dot = np.zeros((61, 61), np.float32)
    dot[30, 30] = 1
    blurred = Trail(10, 3).blur(dot, degrees)
    x, y, weight = Trail(10, 3).taps(degrees)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(
        blurred[30 - y, 30 - x],
        [weight[(x == a) & (y == b)].sum() for a, b in zip(x, y, strict=True)],
        atol=1e-6,
    )


def test_the_photon_table_follows_poissons_law():
    table = poisson_table().reshape(ROWS, COLUMNS).astype(float)
    mean = np.linspace(0, 1, ROWS) ** 2 * MOST
    assert np.abs(table.mean(axis=1) - mean).max() < 0.02
    assert np.abs(table.var(axis=1) - mean).max() < 0.02 * MOST


@pytest.mark.parametrize("decay", [2.0, 1.7])
def test_plasma_is_smooth_and_between_0_and_1(decay, rng):
    fields = np.stack([plasma(32, 128, decay, rng) for _ in range(200)])
    assert fields.min() >= 0
    assert fields.max() <= 1
    assert fields.mean() == pytest.approx(0.5, abs=0.04)
    assert fields.std(axis=(1, 2)).mean() == pytest.approx(0.13, abs=0.03)
    assert np.abs(np.diff(fields, axis=2)).mean() < 0.006


def test_rain_is_grey_and_thin(rng):
    black = np.zeros((32, 128, 3), np.uint8)
    for magnitude, share in enumerate((0.086, 0.118, 0.143)):
        images = np.stack([apply("Rain", black, magnitude, rng) for _ in range(100)])
        assert set(np.unique(images)) == {0, 200}
        assert (images > 0).mean() == pytest.approx(share, abs=0.01)


def test_plasma_has_the_same_grain_in_a_narrow_image():
    """With --PAD an image is narrower than 128 pixels: it sees the beginning of the same field."""
    wide, narrow = (plasma(32, width, 1.5, np.random.default_rng(3)) for width in (128, 40))
    np.testing.assert_allclose(narrow[:, :36], wide[:, :36], atol=1e-6)
