import io
import os
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from loading.preprocessing import UnreadableImageError, decode_image, preprocess


def test_pixels_equal_the_reference_bit_for_bit(fixtures):
    arrays = fixtures("preprocess.npz")
    cases = [name.removeprefix("bytes_") for name in arrays if name.startswith("bytes_")]
    assert cases
    for case in cases:
        image = decode_image(arrays[f"bytes_{case}"].tobytes())
        for keep_ratio, expected in ((False, "resized"), (True, "padded")):
            pixels = preprocess(image, 32, 128, keep_ratio)
            assert np.array_equal(pixels.transpose(1, 2, 0), arrays[f"{expected}_{case}"])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I"])
def test_every_mode_becomes_rgb_or_grey(mode):
    stream = io.BytesIO()
    Image.new("L", (5, 4), 100).convert(mode if mode != "I;16" else "I").convert(mode).save(
        stream, "TIFF"
    )
    assert decode_image(stream.getvalue()).mode == "RGB"
    assert decode_image(stream.getvalue(), channels=1).mode == "L"


def pixels(image, channels=3, as_shown=True):
    return np.asarray(decode_image(image, channels, as_shown)).tolist()


@pytest.mark.parametrize(
    ("mode", "usual"), [("RGBX", "RGB"), ("RGBa", "RGBA"), ("La", "LA"), ("RGBA", "RGBA")]
)
def test_pictures_of_unusual_modes_look_as_they_do(mode, usual):
    shades = np.arange(0, 240, 10, dtype=np.uint8).reshape(2, 4, 3)
    image = Image.fromarray(shades).convert(usual)
    assert pixels(image.convert(mode)) == pixels(image)
    assert pixels(image.convert(mode), 1, False) == pixels(image, 1, False)
    assert len(np.unique(pixels(image.convert(mode)))) > 7
    if usual != "RGB":
        image.putalpha(0)
        assert np.unique(pixels(image.convert(mode))).tolist() == [255]  # on white


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_shades(form):
    shades = np.arange(256, dtype=np.uint8).reshape(8, 32)
    stream = io.BytesIO()
    Image.fromarray(shades.astype(np.uint16) * 257).save(stream, form)
    assert np.array_equal(decode_image(stream.getvalue(), channels=1), shades)
    assert np.array_equal(np.asarray(decode_image(stream.getvalue()))[:, :, 1], shades)


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.int32, 70_000), (np.int32, -5), (np.float32, 0.5)]
)
def test_pixels_of_no_known_range_are_refused(dtype, value):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, dtype)).save(stream, "TIFF")
    with pytest.raises(UnreadableImageError, match="of a range that nothing tells"):
        decode_image(stream.getvalue())


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3000, 2)])
@pytest.mark.parametrize("keep_ratio", [False, True])
def test_extreme_sizes(size, keep_ratio):
    assert preprocess(Image.new("RGB", size), 32, 128, keep_ratio).shape == (3, 32, 128)


def test_damaged_bytes_are_refused(encode_image):
    whole = encode_image("word", form="JPEG")
    for damaged in (b"", b"not an image", whole[: len(whole) // 2]):
        with pytest.raises(UnreadableImageError):
            decode_image(damaged)


def test_a_decompression_bomb_is_refused(monkeypatch, encode_image):
    image = encode_image("word")
    for limit in (100, 1000):  # beyond the limit, and beyond twice of it, where Pillow itself stops
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UnreadableImageError, match="far too many pixels for a word"):
            decode_image(image)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UnreadableImageError, match="FileNotFoundError"):
        decode_image(tmp_path / "nothing.png")


def test_no_other_program_is_started_for_an_image(tmp_path, monkeypatch):
    """Pillow would have Ghostscript run a PostScript file."""
    ran = tmp_path / "ran"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {ran}\n", encoding="utf-8")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    program = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 32\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(UnreadableImageError, match="not an image of a known kind"):
        decode_image(program)
    assert not ran.exists()


def test_the_filters_of_warnings_are_the_process_s_own(monkeypatch):
    """Changed in one thread, they are for all; given back, each warning is shown once more."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 16), "white").save(stream, "PNG")
    for name in ("catch_warnings", "simplefilter", "filterwarnings"):
        monkeypatch.setattr(warnings, name, None)
    decode_image(stream.getvalue(), as_shown=True)


@pytest.mark.parametrize(("scale", "expected"), [(1, 200), (256, 200), (16, 12)])
def test_eight_bits_that_are_stored_as_sixteen_are_no_black_image(scale, expected):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 200 * scale, np.uint16)).save(stream, "PNG")
    assert decode_image(stream.getvalue(), channels=1).getpixel((0, 0)) == expected


def test_sixteen_bits_take_no_more_memory_than_they_need():
    stream = io.BytesIO()
    Image.fromarray(np.full((2000, 2000), 2**15, np.uint16)).save(stream, "PNG")
    tracemalloc.start()
    try:
        assert decode_image(stream.getvalue(), channels=1).getpixel((0, 0)) == 128
        assert tracemalloc.get_traced_memory()[1] < 6 * 2000 * 2000
    finally:
        tracemalloc.stop()
