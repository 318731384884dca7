from argparse import Namespace
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from demo import as_row, read_all
from models import config_codecs, create_model, preset_config
from reading import Reader, attention_pictures
from reading.attention_pictures import (
    ATD_TITLE,
    CELL_HEIGHT,
    CELL_WIDTH,
    MARGIN,
    MAX_POSITIONS,
    TEXT_HEIGHT,
    attention_picture,
    overlay,
)
from text import GranularityReading, Reading

MGP, ACDS, ACDS_MGP = "mgp_str_mini_stem8x8_3_32_128", "acds_str_tiny", "acds_mgp_str_tiny"
COLUMN, CELL = CELL_WIDTH + MARGIN, CELL_HEIGHT + TEXT_HEIGHT
HEAD = MARGIN + CELL + MARGIN
GREY = (128, 128, 128)


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """Every line of text that is drawn."""
    lines = []
    draw = ImageDraw.ImageDraw.text

    def record(self, place, text, **settings):
        lines.append(text)
        draw(self, place, text, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return lines


def made(config, length: int = 2, **maps) -> Reading:
    """A reading of so many characters and stop, with even attention."""
    own = GranularityReading("a" * length, 0.5, True, (12,) * length, (0.9,) * (length + 1))
    names = config.granularities if config.family != "acds-str" else ("char",)
    attention = {n: np.ones((config.positions, *config.grid_size), np.float32) for n in names}
    return Reading(own.text, 0.5, "char", dict.fromkeys(names, own), attention, **maps)


def picture(config, reading, size=(90, 30)) -> np.ndarray:
    image = Image.new("RGB", size, GREY)
    return np.asarray(attention_picture(image, reading, config_codecs(config), config)).astype(int)


def red_columns(pixels: np.ndarray) -> tuple[int, int]:
    """First column that is red in an overlay's middle row, and the one after the last."""
    (columns,) = np.nonzero(pixels[CELL_HEIGHT // 2, :, 0] - pixels[CELL_HEIGHT // 2, :, 2] > 20)
    return columns.min(), columns.max() + 1


def cell(pixels: np.ndarray, number: int) -> np.ndarray:
    """A cell of the first row, without its text."""
    top, left = MARGIN + TEXT_HEIGHT, MARGIN + number * COLUMN
    return pixels[top : top + CELL_HEIGHT, left : left + CELL_WIDTH]


def bright(left: int, right: int) -> np.ndarray:
    """A core-area map of 32x128 pixels that is 1 between two columns."""
    core_area = np.zeros((32, 128), np.float32)
    core_area[8:24, left:right] = 1
    return core_area


@pytest.mark.parametrize(
    ("name", "maps", "columns", "rows"),
    [
        (MGP, (), 3, 3),
        (MGP, ("core_area",), 3, 3),
        (ACDS_MGP, ("core_area", "guided_attention"), 3, 3),
        (ACDS, ("core_area", "guided_attention"), 3, 1),
        (ACDS, ("core_area",), 2, 2),
        ("char_str_base_patch4_3_32_128", (), 1, 3),
    ],
)
def test_positions_fill_the_columns(name, maps, columns, rows):
    config = preset_config(name)
    values = {"core_area": bright(0, 64), "guided_attention": np.full((4, 16), 0.5, np.float32)}
    sheet = picture(config, made(config, **{m: values[m] for m in maps}))
    height = HEAD + 2 * TEXT_HEIGHT + rows * CELL + MARGIN
    assert sheet.shape == (height, columns * COLUMN + MARGIN, 3)


def test_a_long_reading_is_cut_and_says_so(drawn):
    config = preset_config(MGP, granularities=("char",))
    picture(config, made(config, length=MAX_POSITIONS + 4))
    assert "and 5 more positions" in drawn


def test_the_image_itself_is_shown():
    config = preset_config(ACDS)
    assert (cell(picture(config, made(config, core_area=bright(0, 9))), 0) == GREY).all()


def test_core_areas_show_where_they_are():
    config = preset_config(ACDS)
    pixels = cell(picture(config, made(config, core_area=bright(32, 64))), 1)
    left, right = red_columns(pixels)
    assert (left, right) == pytest.approx((64, 128), abs=2)
    reds = pixels[:, 96, 0] > pixels[:, 96, 2]
    assert reds[18:46].all()
    assert not reds[:14].any()
    assert not reds[50:].any()


def test_core_areas_are_clipped_and_not_rescaled():
    config = preset_config(ACDS)

    def of(core_area):
        return cell(picture(config, made(config, core_area=core_area)), 1)

    whole = bright(32, 64)
    outside_of_range = np.where(whole > 0, 3, -2).astype(np.float32)
    inner = np.s_[20:44, 70:122]
    assert (of(outside_of_range)[inner] == of(whole)[inner]).all()
    faint = of(0.1 * whole)  # must not look like a core area
    assert (faint[..., 2] > faint[..., 0] + 50).all()


def test_guided_attention_is_rescaled_and_its_range_told(drawn):
    config = preset_config(ACDS)
    guided = np.full(config.grid_size, 0.501, np.float32)
    guided[1:3, 4:8] = 0.512
    reading = made(config, core_area=bright(0, 9), guided_attention=guided)
    assert red_columns(cell(picture(config, reading), 2)) == pytest.approx((64, 128), abs=5)
    assert "core areas" in drawn
    assert "guided attention, 0.501 to 0.512" in drawn


def test_even_guided_attention_is_drawn():
    config = preset_config(ACDS)
    reading = made(config, guided_attention=np.full((4, 16), 0.5, np.float32))
    assert np.ptp(cell(picture(config, reading), 1), axis=(0, 1)).max() == 0


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        (ACDS, {ATD_TITLE}),
        (ACDS_MGP, {"character A3", "BPE A3", "WordPiece A3"}),
        (MGP, {"character A3", "BPE A3", "WordPiece A3"}),
        ("char_str_base_patch4_3_32_128", {"character A3"}),
    ],
)
def test_the_decoder_is_named(name, titles, drawn):
    config = preset_config(name)
    picture(config, made(config))
    assert {line for line in drawn if "A3" in line or "ATD" in line} == titles


def test_no_line_is_cropped(drawn):
    config = preset_config(ACDS)
    reading = made(config, core_area=bright(0, 9), guided_attention=np.eye(4, 16))
    long = replace(reading.by_granularity["char"], text="wide\n" * 20)
    picture(config, replace(reading, text=long.text, by_granularity={"char": long}))
    font = attention_pictures.ImageFont.load_default(attention_pictures.FONT_SIZE)
    assert all(font.getlength(line) < CELL_WIDTH for line in drawn)
    assert [line[:10] for line in drawn if "…" in line] == ["wide·wide·"] * 2
    assert [line.split("…")[1] for line in drawn if "…" in line] == ["  0.500  (char)", "  0.500"]


def test_padding_is_left_out_of_every_map():
    config = preset_config(ACDS, keep_ratio=True)
    guided = bright(16, 32)[::8, ::8]
    reading = made(config, core_area=bright(16, 32), guided_attention=guided)
    reading.attention["char"][1] = guided
    pixels = picture(config, reading, size=(60, 60))  # 32 of 128 columns
    top = HEAD + 3 * TEXT_HEIGHT
    position = pixels[top : top + CELL_HEIGHT, MARGIN : MARGIN + CELL_WIDTH]
    for shown in (cell(pixels, 1), cell(pixels, 2), position):
        assert red_columns(shown) == pytest.approx((128, 256), abs=20)
    stretched = picture(config.with_changes(keep_ratio=False), reading, size=(60, 60))
    assert red_columns(cell(stretched, 1)) == pytest.approx((32, 64), abs=2)


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1)])
def test_padding_with_extreme_sizes(size):
    config = preset_config(ACDS, keep_ratio=True)
    assert picture(config, made(config, core_area=bright(0, 9)), size).size


def test_an_overlay_does_not_change_with_the_kind_of_image():
    values = np.linspace(0, 1, 64, dtype=np.float64).reshape(4, 16)
    grey = overlay(Image.new("L", (50, 20), 128), values)
    color = overlay(Image.new("RGB", (50, 20), GREY), values)
    assert grey.size == (CELL_WIDTH, CELL_HEIGHT)
    assert (np.asarray(grey) == np.asarray(color)).all()


@pytest.mark.parametrize("name", [ACDS, ACDS_MGP, MGP])
def test_demo_draws_every_family_and_keeps_no_map(name, encode_image, tmp_path):
    torch.manual_seed(5)
    reader = Reader(create_model(name, granularities=("char",)), device="cpu")
    (tmp_path / "word.png").write_bytes(encode_image("word"))
    options = Namespace(no_attention=False, attention_dir=None, demo_imgs=str(tmp_path))
    (reading,) = read_all(options, reader, [tmp_path / "word.png"])
    with Image.open(tmp_path / "attens" / "word_attention.png") as drawn:
        assert drawn.width == (COLUMN if name == MGP else 3 * COLUMN) + MARGIN
    plain = {"text", "confidence", "granularity", "by_granularity", "source"}
    assert all(getattr(reading, f.name) is None for f in fields(reading) if f.name not in plain)
    assert list(as_row(reading, ["char"])) == [
        "file",
        "text",
        "confidence",
        "granularity",
        "char",
        "char_confidence",
        "error",
    ]
