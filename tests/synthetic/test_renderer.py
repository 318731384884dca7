"""The renderer: pure in (seed, index), with boxes that hold the ink."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from synthetic import LEVELS, Renderer
from synthetic import renderer as renderer_module
from synthetic.fonts import NoFontsError
from synthetic.geometry import Arc, Warp, Wave, rotation, scaling

NO_DISTURBANCE = {"neighbours": 0.0, "occluded": 0.0, "plate": 0.0}


def same(one, other):
    return (
        one.text == other.text
        and one.boxes == other.boxes
        and np.array_equal(one.image, other.image)
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_sample_depends_on_seed_and_index_only(level, faces, few_words):
    first = Renderer(level, few_words, faces, seed=5)
    forwards = [first.sample(index) for index in range(30)]
    second = pickle.loads(pickle.dumps(Renderer(level, few_words, faces, seed=5)))
    for index in reversed(range(30)):
        assert same(second.sample(index), forwards[index])
    other = Renderer(level, few_words, faces, seed=6)
    assert sum(same(other.sample(index), forwards[index]) for index in range(30)) == 0


def test_indices_may_be_large(faces, few_words):
    word = Renderer("normal", few_words, faces).sample(12 * 2**32 + 7)
    assert word.image.dtype == np.uint8
    assert word.image.ndim == 3


@pytest.mark.parametrize("level", LEVELS)
def test_every_character_has_a_box_inside_the_image(level, faces, few_words):
    renderer = Renderer(level, few_words, faces, seed=1)
    for index in range(150):
        word = renderer.sample(index)
        height, width, _ = word.image.shape
        assert 8 <= height <= 300
        assert 8 <= width <= 512
        assert "".join(char for char, *_ in word.boxes) == word.text
        for _, x0, y0, x1, y1 in word.boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def test_straight_text_has_its_boxes_in_reading_order(faces, few_words):
    renderer = Renderer("easy", few_words, faces, seed=2)
    for index in range(100):
        middles = [(x0 + x1) / 2 for _, x0, _, x1, _ in renderer.sample(index).boxes]
        assert middles == sorted(middles)


@pytest.mark.parametrize("shape", ["plain", "curved", "perspective", "rotated", "all"])
def test_boxes_hold_the_ink_tightly(shape, faces, few_words, monkeypatch):
    everything = {"curved": 1.0, "perspective": 1.0, "slanted": 1.0}
    look = replace(LEVELS["normal"], **NO_DISTURBANCE, margin=(0.1, 0.2), rotation=0.0)
    look = replace(look, curved=0.0, perspective=0.0, slanted=0.0)
    if shape == "all":
        look = replace(look, **everything, rotation=20.0)
    elif shape == "rotated":
        look = replace(look, rotation=45.0)
    elif shape != "plain":
        look = replace(look, **{shape: 1.0})
    seen = []
    paint = renderer_module.paint
    monkeypatch.setattr(
        renderer_module, "paint", lambda *args: seen.append(args[3]) or paint(*args)
    )
    renderer = Renderer("normal", few_words, faces, seed=3, look=look)
    for index in range(40):
        word = renderer.sample(index)
        ink = seen[-1]
        left = ink.copy()
        for _, x0, y0, x1, y1 in word.boxes:
            # Sampling between pixels spreads ink by half a pixel.
            top, side = max(0, int(np.floor(y0 - 0.5))), max(0, int(np.floor(x0 - 0.5)))
            left[top : int(np.ceil(y1 + 0.5)), side : int(np.ceil(x1 + 0.5))] = 0
        assert left.max() < 0.15
        # Upright boxes touch the ink; the hulls of turned ones hold empty corners.
        if shape == "plain":
            rows, columns = np.nonzero(ink > 0.1)
            edges = np.array([box[1:] for box in word.boxes])
            assert abs(columns.min() - edges[:, 0].min()) < 1.5
            assert abs(columns.max() + 1 - edges[:, 2].max()) < 1.5
            assert abs(rows.min() - edges[:, 1].min()) < 1.5
            assert abs(rows.max() + 1 - edges[:, 3].max()) < 1.5


@pytest.mark.parametrize("bend", [None, Arc(80.0), Arc(-60.0), Wave(5.0, 90.0, 1.0)])
def test_pixels_go_where_points_go(bend):
    flat = np.zeros((60, 160), np.uint8)
    spots = np.array([[30, 20], [80, 30], [130, 42]])
    for x, y in spots:
        flat[y - 2 : y + 2, x - 2 : x + 2] = 255
    before = np.array([[1.1, 0.1, -84], [0, 1, -30], [0, 0, 1.0]])
    tilt = np.array([[1, 0, 110], [0.05, 1, 70], [0.0004, 0.0002, 1]])
    warp = Warp(before, bend, tilt @ rotation(8)).then(scaling(0.9, 1.2))
    image = warp.apply(flat, 190, 230)
    for x, y in warp.forward(spots.astype(float)):
        window = image[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7].astype(float)
        rows, columns = np.mgrid[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7] + 0.5
        assert abs((window * columns).sum() / window.sum() - x) < 0.2
        assert abs((window * rows).sum() / window.sum() - y) < 0.2


def test_shares_are_switches(faces, few_words):
    def pixels(**shares):
        look = replace(LEVELS["normal"], **shares)
        renderer = Renderer("normal", few_words, faces, seed=4, look=look)
        return [renderer.sample(index).image for index in range(6)]

    plain = pixels(noisy=0.0)
    for name in ("curved", "perspective", "occluded", "blurred", "compressed", "plate"):
        changed = pixels(noisy=0.0, **{name: 1.0})
        assert not all(map(np.array_equal, plain, changed)), name


def test_faces_without_small_letters_write_capitals(faces, few_words):
    capitals = [face for face in faces if face.caps_only]
    renderer = Renderer("normal", few_words, capitals)
    assert all(word == word.upper() for word in (renderer.sample(i).text for i in range(20)))
    with pytest.raises(NoFontsError, match="plain"):
        Renderer("easy", few_words, capitals)


def test_wrong_settings_are_named(faces):
    with pytest.raises(ValueError, match=r"hard.*easy, normal"):
        Renderer("hard", fonts=faces)
    with pytest.raises(ValueError, match="-1"):
        Renderer("easy", fonts=faces, seed=-1)
