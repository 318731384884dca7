import numpy as np
import pytest
import torch
from PIL import Image

from models import create_model
from models.checkpoint import save_checkpoint
from preprocessing import UnreadableImageError
from reading import Reader, find_images
from text import fuse


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
        ids, probabilities = reader.model(exact).greedy()
    expected = fuse(
        reader.codecs,
        {n: i.numpy() for n, i in ids.items()},
        {n: p.numpy() for n, p in probabilities.items()},
    )
    for own, other in zip(reader(arrays), expected, strict=True):
        assert own.text == other.text
        assert own.confidence == pytest.approx(other.confidence, rel=1e-4)


def test_order_is_kept_over_batches(reader, encode_image):
    images = [encode_image(f"w{i}", (60 + i, 20)) for i in range(5)]
    together = reader(images)
    assert [r.text for r in together] == [reader(image).text for image in images]


def test_attention_has_the_grid_of_the_patches(reader, word):
    assert reader(word).attention is None
    attention = reader(word, attention=True).attention
    assert list(attention) == ["char", "bpe", "wp"]
    assert {a.shape for a in attention.values()} == {(27, 4, 16)}


def test_a_checkpoint_is_loaded_by_path(reader, word, tmp_path):
    save_checkpoint(tmp_path / "m.pth", reader.model)
    assert Reader.load(tmp_path / "m.pth", device="cpu")(word).text == reader(word).text


def test_a_grey_model_reads_color_images(word):
    grey = create_model("mgp_str_mini_stem8x8_3_32_128", channels=1)
    assert Reader(grey, device="cpu")(word) is not None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"no image", "UnidentifiedImageError"),
        ("nowhere.png", r"nowhere\.png"),
        (np.zeros((4, 4), np.uint8), r"not uint8 \[4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), "not float32"),
    ],
)
def test_what_is_no_image_is_refused(reader, bad, message):
    with pytest.raises(UnreadableImageError, match=message):
        reader(bad)


def test_images_are_found_in_natural_order(tmp_path, word):
    for name in ("10.png", "2.png", "b.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(word)
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in find_images(tmp_path)] == ["2.png", "10.png", "b.JPG"]
    assert [p.name for p in find_images(f"{tmp_path}/*.png")] == ["2.png", "10.png"]
    assert [p.name for p in find_images(tmp_path / "2.png")] == ["2.png"]
    with pytest.raises(FileNotFoundError, match="There are no images at"):
        find_images(tmp_path / "nothing")
