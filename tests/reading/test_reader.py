import copy
import io
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loading.preprocessing import UnreadableImageError, decode_image, preprocess
from models import create_model
from models.checkpoint import save_checkpoint
from reading import Reader, find_images, open_image
from text import fuse

ROOT = Path(__file__).resolve().parents[2]
ORIENTATION = 0x0112  # of EXIF
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(3)
    return Reader(create_model("mgp_str_mini_stem8x8_3_32_128"), device="cpu", batch_size=2)


@pytest.fixture
def word(encode_image) -> bytes:
    return encode_image("word", (90, 30))


def test_every_kind_of_image_reads_the_same(reader, word, tmp_path):
    (tmp_path / "word.png").write_bytes(word)
    image = Image.open(tmp_path / "word.png")
    kinds = [
        str(tmp_path / "word.png"),
        tmp_path / "word.png",
        word,
        image,
        np.asarray(image.convert("RGB")),
    ]
    readings = reader(kinds)
    assert len(readings) == 5
    assert len({(r.text, round(r.confidence, 6)) for r in readings}) == 1
    assert reader(word).text == readings[0].text


def test_readings_equal_decoding_the_models_outputs(reader, word):
    images = torch.rand(3, 3, 32, 128)
    arrays = [(i.permute(1, 2, 0) * 255).to(torch.uint8).numpy() for i in images]
    exact = torch.stack([torch.from_numpy(a).permute(2, 0, 1) for a in arrays]).float() / 255
    with torch.inference_mode():
        ids, probabilities = reader.recognition.model(exact).greedy()
    expected = fuse(
        reader.codecs,
        {n: i.numpy() for n, i in ids.items()},
        {n: p.numpy() for n, p in probabilities.items()},
    )
    for own, other in zip(reader(arrays), expected, strict=True):
        assert own.text == other.text
        assert own.confidence == pytest.approx(other.confidence, rel=1e-4)


def test_a_reader_that_has_read_can_be_copied(reader, word):
    size = len(pickle.dumps(Reader(reader.recognition.model, "cpu").recognition))
    expected, copied = reader(word), copy.deepcopy(reader)(word)
    assert copied.text == expected.text
    assert copied.confidence == pytest.approx(expected.confidence, rel=1e-6)
    assert len(pickle.dumps(reader.recognition)) == pytest.approx(size, rel=0.01)


def test_a_loaded_reader_can_be_copied(reader, word, tmp_path):
    save_checkpoint(tmp_path / "m.pth", reader.recognition.model)
    loaded = Reader.load(tmp_path / "m.pth", "cpu")
    expected, copied = loaded(word), copy.deepcopy(loaded)
    assert copied(word) == expected
    assert pickle.loads(pickle.dumps(loaded))(word) == expected


OTHER_PROCESS = """
import multiprocessing, sys
import torch
from reading import Reader

def read(reader, image):
    print(reader(image).text, flush=True)

if __name__ == "__main__":
    torch.set_num_threads(2)  # one waits for no other
    method, weights, image = sys.argv[1:]
    reader = Reader.load(weights, "cpu")
    read(reader, image)
    context = multiprocessing.get_context(method)
    process = context.Process(target=read, args=(reader, image))
    process.start()
    process.join(90)
    process.kill()
    with context.Pool(1) as pool:  # to which it is sent by itself
        pool.apply_async(read, (reader, image)).get(90)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loaded_reader_reads_in_other_processes(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(OTHER_PROCESS, encoding="utf-8")
    weights, image = "acds_char_str_light", ROOT / "demo_imgs" / "night.jpg"
    done = subprocess.run(
        [sys.executable, str(script), method, weights, str(image)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.split() == ["night"] * 3, done.stderr


def test_a_caller_s_autocast_changes_nothing(reader, word, tmp_path):
    save_checkpoint(tmp_path / "m.pth", reader.recognition.model)
    expected = reader(word).confidence
    assert Reader.load(tmp_path / "m.pth", "cpu")(word).confidence == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert reader(word).confidence == expected
        assert Reader.load(tmp_path / "m.pth", "cpu")(word).confidence == expected


def test_order_is_kept_over_batches(reader, encode_image):
    images = [encode_image(f"w{i}", (60 + i, 20)) for i in range(5)]
    together = reader(images)
    assert [r.text for r in together] == [reader(image).text for image in images]


def test_attention_has_the_grid_of_the_patches(reader, word):
    assert reader(word).attention is None
    attention = reader(word, attention=True).attention
    assert list(attention) == ["char", "bpe", "wp"]
    assert {a.shape for a in attention.values()} == {(27, 4, 16)}


@pytest.mark.parametrize(
    ("name", "changes", "has_map", "has_guidance"),
    [
        ("acds_str_tiny", {}, True, True),
        ("acds_str_tiny", {"guided_blocks": 0, "core_area_form": "sigmoid"}, True, False),
        ("acds_mgp_str_tiny", {"granularities": ("char",), "keep_ratio": True}, True, True),
        ("mgp_str_mini_stem8x8_3_32_128", {"core_area_head": True}, True, False),
        ("mgp_str_mini_stem8x8_3_32_128", {}, False, False),
    ],
)
def test_maps_are_those_of_the_models_outputs(name, changes, has_map, has_guidance, word):
    torch.manual_seed(4)
    reader = Reader(create_model(name, **changes), device="cpu")
    plain = reader(word)
    assert plain.core_area is None
    assert plain.guided_attention is None
    config = reader.config
    pixels = [
        preprocess(open_image(image), config.image_height, config.image_width, config.keep_ratio)
        for image in (word, np.full((20, 30, 3), 200, np.uint8))
    ]
    with torch.inference_mode():
        outputs = reader.recognition.model(torch.from_numpy(np.stack(pixels)).float() / 255)
    readings = reader([word, np.full((20, 30, 3), 200, np.uint8)], attention=True)
    for i, reading in enumerate(readings):
        assert (reading.core_area is not None) == has_map
        assert (reading.guided_attention is not None) == has_guidance
        if has_map:
            assert reading.core_area.dtype == np.float32
            assert reading.core_area.shape == (32, 128)
            np.testing.assert_allclose(reading.core_area, outputs.core_area[i, 0], atol=1e-5)
        if has_guidance:
            assert reading.guided_attention.dtype == np.float32
            assert reading.guided_attention.shape == config.grid_size
            rows, columns = config.grid_size
            for row, column in ((0, 0), (1, 3), (rows - 1, columns - 1)):
                own_row = outputs.guided_attention[i, 1 + row * columns + column]
                mean = pytest.approx(own_row.mean().item(), abs=1e-5)
                assert reading.guided_attention[row, column] == mean


def test_guided_attention_without_guidance_is_just_above_a_half(word):
    model = create_model("acds_str_tiny")
    torch.nn.init.zeros_(model.conv_fpn[1].weight)
    guided = Reader(model, device="cpu")(word, attention=True).guided_attention
    np.testing.assert_allclose(guided, 0.5 + 0.25 / (1 + guided.size), atol=1e-4)


def test_a_checkpoint_is_loaded_by_path(reader, word, tmp_path):
    save_checkpoint(tmp_path / "m.pth", reader.recognition.model)
    assert Reader.load(tmp_path / "m.pth", device="cpu")(word).text == reader(word).text


def test_a_grey_model_reads_color_images(word):
    grey = create_model("mgp_str_mini_stem8x8_3_32_128", channels=1)
    assert Reader(grey, device="cpu")(word) is not None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"no image", "not an image of a known kind"),
        ("nowhere.png", r"nowhere\.png"),
        (np.zeros((4, 4), np.uint8), r"not uint8 \[4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), "not float32"),
    ],
)
def test_what_is_no_image_is_refused(reader, bad, message):
    with pytest.raises(UnreadableImageError, match=message):
        reader(bad)


def test_the_message_names_the_image_among_many(reader, word, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"^image 3 \(the first is 0\): not an image"):
        reader([word, word, word, b"junk"])
    with pytest.raises(UnreadableImageError, match=r"bad\.png: not an image"):
        reader([word, tmp_path / "bad.png"])
    with pytest.raises(UnreadableImageError, match=r"image 1 .*a dict is no image"):
        reader([word, {}])


def test_bad_images_are_kept_as_errors_on_request(reader, word, encode_image, tmp_path):
    whole = encode_image("half", (300, 200), "JPEG")
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    lazy = Image.open(tmp_path / "half.jpg")
    empty = Image.new("RGB", (0, 5))
    images = [b"junk", word, tmp_path / "half.jpg", "no\0where.png", lazy, empty, word, 5, tmp_path]
    readings = reader(images, keep_errors=True)
    assert [r.error is None for r in readings] == [i in (1, 6) for i in range(len(images))]
    assert readings[1].text == readings[6].text == reader(word).text
    assert readings[0].error.startswith("image 0 ")
    assert "half.jpg" in readings[2].error
    assert (readings[0].text, readings[0].confidence, readings[0].characters) == ("", 0.0, ())
    assert readings[2].source == tmp_path / "half.jpg"
    assert reader(b"junk", keep_errors=True).error.startswith("not an image of a known kind")
    assert [r.error is None for r in reader([b"", b""], keep_errors=True)] == [False, False]
    assert reader([]) == []


def test_pillow_images_keep_sixteen_bits(reader):
    shades = np.linspace(0, 255, 60 * 20).astype(np.uint16).reshape(20, 60)
    deep = Image.fromarray(shades * 257)
    assert reader(deep) == reader(Image.fromarray(shades.astype(np.uint8)))


def test_a_folder_is_read_in_natural_order(reader, encode_image, tmp_path):
    for name in ("10.png", "2.png"):
        (tmp_path / name).write_bytes(encode_image(name))
    readings = reader(tmp_path)
    assert [r.source.name for r in readings] == ["2.png", "10.png"]
    assert readings == reader([tmp_path / "2.png", str(tmp_path / "10.png")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="There are no images"):
        reader(tmp_path / "empty")


def test_a_stream_takes_a_batch_at_a_time(reader, word):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield word

    readings = reader.stream(endless())
    assert taken == 0
    for number in range(1, 6):
        next(readings)
        assert taken == -(-number // reader.batch_size) * reader.batch_size


def test_a_stream_holds_a_batch_at_a_time(reader, word):
    pixels = np.asarray(Image.open(io.BytesIO(word)).convert("RGB"))
    alive, most = [], 0

    def images():
        nonlocal most
        for _ in range(3 * reader.batch_size):
            image = pixels.copy()
            alive.append(weakref.ref(image))
            most = max(most, sum(one() is not None for one in alive))
            yield image
            del image

    assert len(list(reader.stream(images()))) == 3 * reader.batch_size
    assert most == reader.batch_size


def test_what_comes_before_a_failure_is_read(reader, word):
    def failing():
        yield word
        raise KeyError("the source's own")

    cases = (([word, b"junk", word], UnreadableImageError), (failing(), KeyError))
    for images, error in cases:  # within a batch
        readings = reader.stream(images)
        assert next(readings).text == reader(word).text
        with pytest.raises(error):
            next(readings)


def test_a_reading_keeps_no_maps_of_others(word):
    torch.manual_seed(0)
    reader = Reader(create_model("acds_mgp_str_tiny"), "cpu")
    for reading in reader([word] * 3, attention=True):
        kept = [*reading.attention.values(), reading.core_area, reading.guided_attention]
        assert all(own.base is None or own.base.nbytes == own.nbytes for own in kept)


def test_a_color_array_is_rgb(reader, encode_image):
    image = Image.open(Path(__file__).resolve().parents[2] / "demo_imgs" / "night.jpg")
    pixels = np.asarray(image.convert("RGB"))
    expected = reader(image)
    assert reader(pixels).confidence == expected.confidence
    assert reader(pixels[:, :, ::-1]).confidence != expected.confidence


def test_characters_have_confidence_and_position(model):
    reader = Reader(model, device="cpu")
    for reading in reader(Path(__file__).resolve().parents[2] / "demo_imgs", attention=True):
        own = reading.by_granularity["char"]
        assert "".join(c.text for c in reading.characters) == own.text
        for character in reading.characters:
            assert character.confidence == own.probabilities[character.position - 1]
            weights = reading.attention["char"][character.position]
            x, y = character.centre
            columns = (np.arange(weights.shape[1]) + 0.5) / weights.shape[1]
            mean = (weights.sum(0) * columns).sum() / weights.sum()
            assert x == pytest.approx(mean, abs=1e-5)
            assert 0 <= y <= 1
    plain = reader(np.zeros((9, 9, 3), np.uint8))
    assert all(character.centre is None for character in plain.characters)


def test_images_are_found_in_natural_order(tmp_path, word):
    for name in ("10.png", "2.png", "b.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(word)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "3.png").symlink_to("gone.png")  # found, so that it is told of
    assert [p.name for p in find_images(tmp_path)] == ["2.png", "3.png", "10.png", "b.JPG"]
    assert [p.name for p in find_images(f"{tmp_path}/*.png")] == ["2.png", "3.png", "10.png"]
    assert [p.name for p in find_images(tmp_path / "2.png")] == ["2.png"]
    with pytest.raises(FileNotFoundError, match="There are no images at"):
        find_images(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["acds_str_tiny", "acds_mgp_str_tiny"])
def test_the_fast_path_reads_what_the_plain_one_reads(name):
    torch.manual_seed(1)
    model = create_model(name, granularities=("char",))
    random = np.random.default_rng(2)
    images = [random.integers(0, 256, (32, 128, 3), dtype=np.uint8) for _ in range(20)]
    plain = Reader(model, device="cpu", fast=False)(images)
    fast = Reader(model, device="cpu")(images)
    assert [r.text for r in fast] == [r.text for r in plain]
    for own, other in zip(fast, plain, strict=True):
        assert own.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert own.core_area is None
    half = Reader(model, device="cpu", dtype=torch.bfloat16)
    assert half(images[0], attention=True).core_area.shape == (32, 128)


@pytest.mark.parametrize("size", [0, -1, 1.5, "8"])
def test_a_batch_needs_an_image(reader, size):
    with pytest.raises(ValueError, match="batch_size must be a whole number, 1 or more"):
        Reader(reader.recognition.model, "cpu", batch_size=size)


@pytest.mark.parametrize("asked", [{"image_width": 256}, {"keep_ratio": True}])
def test_another_size_than_the_weights_own_is_refused(reader, tmp_path, asked):
    save_checkpoint(tmp_path / "model.pth", reader.recognition.model)
    with pytest.raises(ValueError, match=r"was asked for, but .* was trained with"):
        Reader.load(tmp_path / "model.pth", "cpu", **asked)
    own = {"image_height": 32, "image_width": 128, "keep_ratio": False}
    assert Reader.load(tmp_path / "model.pth", "cpu", **own).config == reader.config


def test_a_photo_is_turned_as_its_camera_noted():
    upright = Image.new("RGB", (60, 20), "red")
    upright.paste("blue", (0, 0, 30, 20))
    sideways, note, stream = (
        upright.transpose(Image.Transpose.ROTATE_90),
        Image.Exif(),
        io.BytesIO(),
    )
    note[ORIENTATION] = 6  # a viewer turns it clockwise
    sideways.save(stream, "PNG", exif=note)
    assert open_image(stream.getvalue()).tobytes() == upright.tobytes()
    # As the reference does, a data set's images are taken as they are stored.
    stored = decode_image(stream.getvalue())
    assert stored.size == (20, 60)
    assert open_image(stored).tobytes() == stored.tobytes()


@pytest.mark.parametrize("note", [b"XX\0*\0\0\0\x08", b"MM\0*\0\0\0\x08\0\x01\x01\x12", b"MM"])
def test_a_damaged_note_of_a_camera_is_left_aside(note):
    image, stream = Image.new("RGB", (60, 20), "red"), io.BytesIO()
    image.save(stream, "PNG", exif=b"Exif\0\0" + note)
    assert open_image(stream.getvalue()).tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode):
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 5, 20, 15))
    stream = io.BytesIO()
    image.convert(mode).save(stream, "PNG")
    expected = Image.new("RGB", (40, 20), "white")
    expected.paste("black", (10, 5, 20, 15))
    assert open_image(stream.getvalue()).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_bytes_are_an_image(reader, encode_image, kind):
    encoded = encode_image("word")
    assert reader(kind(encoded)).text == reader(encoded).text == reader([kind(encoded)])[0].text


@pytest.mark.parametrize("odd", [None, io.BytesIO(b"x"), 5])
def test_what_is_neither_an_image_nor_many_is_refused_in_words(reader, odd):
    with pytest.raises(UnreadableImageError, match=f"a {type(odd).__name__} is no image"):
        reader(odd)
    assert reader(odd, keep_errors=True).error


@pytest.mark.parametrize("one", ["demo_imgs", Path("demo_imgs"), b"image"])
def test_a_stream_is_of_many(reader, one):
    with pytest.raises(TypeError, match="stream takes many images"):
        reader.stream(one)


def test_a_name_that_is_too_long_is_an_image_that_can_not_be_read(reader):
    assert "File name too long" in reader("x" * 5000, keep_errors=True).error


def test_digits_of_other_kinds_are_no_numbers(tmp_path, word):
    for name in ("10\u00b25.jpg", "9.jpg"):
        (tmp_path / name).write_bytes(word)
    assert len(find_images(tmp_path)) == 2
