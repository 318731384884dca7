"""From character boxes in an LMDB to the core areas of a batch, with their image at every step."""

import io
import json
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from augmentation import Augmenter
from dataset import (
    EvaluationDataset,
    ImageFormat,
    TrainingDataset,
    collate,
    evaluation_loader,
    training_loader,
)
from loading.core_areas import draw_core_areas
from loading.sampling import MixingSampler
from loading.sources import Selection, Source, open_sources
from records.char_boxes import CharBox
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from text import Charset, build_codecs

SIZE = (60, 20)  # of the fixture's images


def label_filter(charset: str = "36") -> LabelFilter:
    return LabelFilter(Charset.load(charset), 25)


def boxes_of(text: str, left: int = 2, width: int = 8) -> list[list]:
    """A box for each character, side by side."""
    return [[c, left + width * k, 3, left + width * (k + 1), 17] for k, c in enumerate(text)]


def expected_area(boxes, size=SIZE, height=32, width=128) -> np.ndarray:
    made = [CharBox(c, tuple(zip(n[::2], n[1::2], strict=True))) for c, *n in boxes]
    return draw_core_areas(made, size, height, width)


@pytest.fixture
def boxed_lmdb(tmp_path, make_lmdb, encode_image):
    """Writes an LMDB of (label, boxes); boxes are a list, raw bytes, or None for no key."""

    def make(records, name: str = "set"):
        keys = {
            f"boxes_{number:09d}": b if isinstance(b, bytes) else json.dumps(b).encode()
            for number, (_, b) in enumerate(records, start=1)
            if b is not None
        }
        images = [(encode_image("x", SIZE), label) for label, _ in records]
        return make_lmdb(tmp_path / name, images, **keys)

    return make


def samples_of(path, charset: str = "36", core_areas: bool = True, augmenter=None):
    """Dataset over one LMDB in its own order, and its format."""
    opened = LmdbSet(path, label_filter(charset), boxes=core_areas)
    return TrainingDataset([Source("set", [opened])], ImageFormat(), augmenter, core_areas)


def batch_of(dataset, count: int, core_areas: bool = True):
    samples = [dataset[(0, index, 0)] for index in range(count)]
    return collate(samples, dataset.image_format, core_areas)


def test_a_batch_has_the_core_areas_of_the_boxes(boxed_lmdb):
    words = ["cat", "it", "a"]
    path = boxed_lmdb([(word, boxes_of(word)) for word in words])
    batch = batch_of(samples_of(path), 3)
    assert batch.texts == words
    assert batch.core_area.dtype == torch.uint8
    assert batch.core_area.shape == (3, 1, 32, 128)
    for area, word in zip(batch.core_area, words, strict=True):
        np.testing.assert_array_equal(area[0].numpy(), expected_area(boxes_of(word)))
        assert area.max() == len(word)
    assert batch.has_core_area.tolist() == [True] * 3
    assert batch.passed_over == []


@pytest.mark.parametrize("workers", [0, 1])
def test_records_with_and_without_boxes_mix(boxed_lmdb, workers):
    records = [("cat", boxes_of("cat")), ("dog", None), ("sun", boxes_of("sun")), ("tea", None)]
    dataset = samples_of(boxed_lmdb(records))
    loader = training_loader(dataset, MixingSampler([4], [4], seed=1), workers)
    batch = next(iter(loader))
    assert sorted(batch.texts) == ["cat", "dog", "sun", "tea"]
    for text, area, counted in zip(batch.texts, batch.core_area, batch.has_core_area, strict=True):
        assert bool(counted) == bool(area.any()) == (text in ("cat", "sun"))
    assert dataset.sources[0].sets[0].report.with_boxes == 2


def test_without_core_areas_a_batch_has_none(boxed_lmdb):
    path = boxed_lmdb([("cat", boxes_of("cat"))])
    batch = batch_of(samples_of(path, core_areas=False), 1, core_areas=False)
    assert batch.core_area is None and batch.has_core_area is None


def test_an_empty_list_of_boxes_belongs_to_no_label(boxed_lmdb):
    dataset = samples_of(boxed_lmdb([("cat", []), ("dog", None)]))
    assert dataset[(0, 0, 0)].text == "dog"
    assert "disagree" in dataset[(0, 0, 0)].passed_over[0]


BAD_BOXES = {
    "one too few": boxes_of("ca"),
    "other order": boxes_of("act"),
    "other word": boxes_of("dog"),
    "no JSON": b"[[",
    "no UTF-8": b"\xff\xfe",
    "empty": b"",
    "an object": b"{}",
    "nested": b"[" * 100_000,
    "NaN": b'[["c",0,0,NaN,9],["a",0,0,9,9],["t",0,0,9,9]]',
    "infinite": b'[["c",0,0,1e999,9],["a",0,0,9,9],["t",0,0,9,9]]',
    "far": [["c", 0, 0, 10**7, 9], ["a", 0, 0, 9, 9], ["t", 0, 0, 9, 9]],
    "long number": b'[["c",0,0,' + b"9" * 5000 + b',9],["a",0,0,9,9],["t",0,0,9,9]]',
    "texts": [["c", "0", "0", "9", "9"], ["a", 0, 0, 9, 9], ["t", 0, 0, 9, 9]],
    "three corners": [["c", 0, 0, 9, 9, 5, 5], ["a", 0, 0, 9, 9], ["t", 0, 0, 9, 9]],
    "too many": [["c", 0, 0, 9, 9]] * 1001,
    "of another image": [[c, 5000, 700, 5020, 720] for c in "cat"],
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_bad_boxes_never_reach_a_batch(boxed_lmdb, name):
    path = boxed_lmdb([("dog", boxes_of("dog")), ("cat", BAD_BOXES[name]), ("sun", None)])
    dataset = samples_of(path)
    assert dataset.sources[0].size == 3  # found when the record is read, not before
    batch = batch_of(dataset, 3)
    stand_in = batch.texts[1]
    assert batch.texts == ["dog", stand_in, "sun"] and stand_in in ("dog", "sun")
    (line,) = batch.passed_over
    assert line.startswith(f"{path} record 2: ") and "box" in line
    assert len(line) < len(str(path)) + 250
    assert batch.has_core_area.tolist() == [True, stand_in == "dog", False]
    # In an evaluation set nothing stands in for it.
    opened = LmdbSet(path, label_filter())
    evaluated = EvaluationDataset(opened, ImageFormat(), opened.numbers, core_areas=True)
    (batch,) = evaluation_loader(evaluated, 3, workers=0)
    assert batch.texts == ["dog", "sun"]
    assert [line.split(": ")[0] for line in batch.passed_over] == [f"{path} record 2"]
    # Without core areas the record is as good as any.
    dataset = samples_of(path, core_areas=False)
    batch = batch_of(dataset, 3, core_areas=False)
    assert (batch.texts, batch.passed_over) == (["dog", "cat", "sun"], [])


def test_a_set_of_bad_boxes_alone_has_no_sample(boxed_lmdb):
    dataset = samples_of(boxed_lmdb([("cat", b"?"), ("dog", boxes_of("cat"))]))
    sample = dataset[(0, 1, 0)]
    assert sample.image is None
    assert ["record 2" in sample.passed_over[0], "record 1" in sample.passed_over[1]] == [True] * 2
    batch = collate([sample], ImageFormat(), core_areas=True)
    assert batch.core_area.shape == (0, 1, 32, 128)
    assert batch.has_core_area.shape == (0,)


def official_label(word: str, boxes) -> bytes:
    entries = {str([[x0, y0], [x1, y1]]): c for c, x0, y0, x1, y1 in boxes}
    return pickle.dumps(entries | {"word": word})


class Exploit:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.fixture
def official(tmp_path, make_lmdb, encode_image):
    """Two official labels, a plain one, one whose boxes spell another word, and three bad ones."""
    image = encode_image("x", SIZE)
    labels = [
        official_label("Cat", boxes_of("Cat")),
        official_label("it's", boxes_of("it's")),
        "plain",
        official_label("dog", boxes_of("cat")),
        pickle.dumps({"[[1, 1], [9, 9]]": "x", "word": Exploit()}),
        pickle.dumps({"__import__('os')": "x", "word": "x"}),
        pickle.dumps({"[[1, 1], [9, 9]]": "x"}),
    ]
    return make_lmdb(tmp_path / "official", [(image, label) for label in labels])


def test_official_labels_give_words_and_boxes(official, capsys):
    dataset = samples_of(official)
    opened = dataset.sources[0].sets[0]
    assert [opened.read(int(n))[1] for n in opened.numbers] == ["cat", "its", "plain", "dog"]
    assert opened.report.with_boxes == 3
    assert opened.report.dropped == {
        "label is a pickle of more than text": 1,
        "box is not two or four points": 1,
        "label has no word": 1,
    }
    assert "4 records kept (3 with character boxes), 3 dropped" in str(opened.report)
    assert "label-000000005" in str(opened.report)
    batch = batch_of(dataset, 4)
    stand_in = batch.texts[3]
    assert batch.texts == ["cat", "its", "plain", stand_in] and stand_in in batch.texts[:3]
    assert ["record 4" in line for line in batch.passed_over] == [True]
    assert batch.has_core_area.tolist() == [True, True, False, stand_in != "plain"]
    np.testing.assert_array_equal(batch.core_area[0, 0], expected_area(boxes_of("cat")))
    assert "code was run" not in capsys.readouterr().out


def test_boxes_of_their_own_come_before_those_in_the_label(tmp_path, make_lmdb, encode_image):
    own = boxes_of("cat", left=20)
    path = make_lmdb(
        tmp_path / "set",
        [(encode_image("x", SIZE), official_label("cat", boxes_of("cat")))],
        boxes_000000001=json.dumps(own).encode(),
    )
    batch = batch_of(samples_of(path), 1)
    np.testing.assert_array_equal(batch.core_area[0, 0], expected_area(own))


def test_readers_of_words_see_words_whatever_the_label_is(official, boxed_lmdb):
    opened = LmdbSet(official, label_filter("94"))
    assert [opened.read(int(n))[1] for n in opened.numbers] == ["Cat", "it's", "plain", "dog"]
    assert opened.report.with_boxes is None
    assert "boxes)" not in str(opened.report)
    plain = LmdbSet(boxed_lmdb([("cat", b"?")], "plain"), label_filter())
    assert plain.read(1)[1] == "cat"
    dataset = EvaluationDataset(plain, ImageFormat(), plain.numbers)
    assert (dataset[0].text, dataset[0].passed_over) == ("cat", ())


def test_sources_need_boxes_somewhere(tmp_path, boxed_lmdb):
    boxed_lmdb([("cat", None)], "A")
    boxed_lmdb([("dog", None)], "B")
    with pytest.raises(ValueError, match=r"No record of --select_data A-B .* has character boxes"):
        open_sources(Selection(tmp_path, "A-B", boxes=True), label_filter())
    open_sources(Selection(tmp_path, "A-B"), label_filter())
    boxed_lmdb([("sun", None), ("map", boxes_of("map"))], "C")
    sources = open_sources(Selection(tmp_path, "A-C", boxes=True), label_filter())
    assert [s.sets[0].report.with_boxes for s in sources] == [0, 1]
    # What is not used does not count.
    with pytest.raises(ValueError, match="has character boxes"):
        open_sources(Selection(tmp_path, "C", usage_ratio=0.5, boxes=True), label_filter())


@pytest.mark.parametrize(
    ("charset", "text", "kept"),
    [("36", "cats", (0, 2, 4, 5)), ("62", "CaTs", (0, 2, 4, 5)), ("94", "C'a-Ts", range(6))],
)
def test_numbers_are_those_of_the_label_that_is_left(boxed_lmdb, charset, text, kept):
    boxes = boxes_of("C'a-Ts")
    dataset = samples_of(boxed_lmdb([("C'a-Ts", boxes)]), charset)
    sample = dataset[(0, 0, 0)]
    assert (sample.text, sample.passed_over) == (text, ())
    np.testing.assert_array_equal(sample.core_area, expected_area([boxes[k] for k in kept]))
    for number, k in enumerate(kept, start=1):
        _, x0, _, x1, _ = boxes[k]
        assert sample.core_area[16, round((x0 + x1) / 2 * 128 / 60)] == number


# Images that are white exactly where core areas are, so that both can be compared.


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def white_core(size: tuple[int, int], columns: int = 3) -> tuple[bytes, str, list[list]]:
    """Image with white rectangles; a word; and its boxes, which shrink to those rectangles."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    boxes = []
    cell = width / columns
    for k in range(columns):
        # Of half the box in either direction, about its centre.
        left, right = cell * (k + 0.3), cell * (k + 0.7)
        top, bottom = height * (0.3 + 0.05 * k), height * (0.65 + 0.05 * k)
        x0, x1, y0, y1 = (round(v) for v in (left, right, top, bottom))
        pixels[y0:y1, x0:x1] = 255
        beside, above = (x1 - x0) / 2, (y1 - y0) / 2
        boxes.append(["abcdefgh"[k], x0 - beside, y0 - above, x1 + beside, y1 + above])
    return png(pixels), "".join(b[0] for b in boxes), boxes


def as_quads(boxes):
    return [[c, x0, y0, x1, y0, x1, y1, x0, y1] for c, x0, y0, x1, y1 in boxes]


def pixels_apart(one: np.ndarray, other: np.ndarray) -> int:
    """How often each area must be dilated to cover the other."""
    assert one.any() and other.any()
    square = np.ones((3, 3), np.uint8)
    one, other = one.astype(np.uint8), other.astype(np.uint8)
    grown_one, grown_other = one, other
    for steps in range(20):
        if not (one & (grown_other == 0)).any() and not (other & (grown_one == 0)).any():
            return steps
        grown_one, grown_other = cv2.dilate(grown_one, square), cv2.dilate(grown_other, square)
    return 20


def exact_core(size: tuple[int, int]) -> tuple[bytes, str, list[list]]:
    """As `white_core`, of an image that keeps its size: white to the pixel where the map is."""
    width, height = size
    boxes = boxes_of("abc", left=width // 8, width=width // 4)
    for _, box in zip(range(3), boxes, strict=True):
        box[2], box[4] = 4, height - 6
    area = expected_area(boxes, size, height, width) > 0
    return png(np.repeat(area[:, :, None] * np.uint8(255), 3, axis=2)), "abc", boxes


@pytest.fixture
def white_set(tmp_path, make_lmdb):
    """A dataset of one such image, in the format asked for."""

    def make(core, image_format, augmenter=None, quads=False):
        image, word, boxes = core
        stored = json.dumps(as_quads(boxes) if quads else boxes).encode()
        path = make_lmdb(tmp_path / "white", [(image, word)], boxes_000000001=stored)
        sources = [Source("set", [LmdbSet(path, label_filter(), boxes=True)])]
        return TrainingDataset(sources, image_format, augmenter, core_areas=True)

    return make


def seen(image: np.ndarray) -> np.ndarray:
    """Where an image [C, H, W] is light."""
    return image.mean(axis=0) > 127


@pytest.mark.parametrize("quads", [False, True])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("keep_ratio", [False, True])
@pytest.mark.parametrize("size", [(128, 32), (60, 40), (300, 50), (500, 40), (90, 120)])
def test_map_and_image_have_the_same_pixels(white_set, size, keep_ratio, channels, quads):
    image_format = ImageFormat(32, 128, channels, keep_ratio)
    columns = 1 if keep_ratio and size[1] > size[0] else 3
    dataset = white_set(white_core(size, columns), image_format, quads=quads)
    sample = dataset[(0, 0, 0)]
    assert sample.image.shape == (channels, 32, 128)
    assert sample.core_area.shape == (32, 128)
    assert pixels_apart(seen(sample.image), sample.core_area > 0) <= 1
    if keep_ratio:
        used = min(128, -(-32 * size[0] // size[1]))
        assert not sample.core_area[:, used:].any()
        assert not sample.image[:, :, used:].any()


@pytest.mark.parametrize("height_width", [(48, 160), (64, 256)])
def test_other_sizes_of_the_input(white_set, height_width):
    dataset = white_set(white_core((200, 70)), ImageFormat(*height_width, 3, False))
    sample = dataset[(0, 0, 0)]
    assert sample.core_area.shape == height_width
    assert pixels_apart(seen(sample.image), sample.core_area > 0) <= 1


MOVES = {
    "warp and geometry": {"mode": "selected", "groups": ("warp", "geometry")},
    "warp": {"mode": "selected", "groups": ("warp",)},
    "geometry": {"mode": "selected", "groups": ("geometry",)},
    "rotation": {"mode": "rotation"},
}


@pytest.mark.parametrize("keep_ratio", [False, True])
@pytest.mark.parametrize("name", MOVES)
def test_map_and_image_move_alike(white_set, name, keep_ratio):
    augmenter = Augmenter(**MOVES[name], intact_probability=0, seed=4)
    core = exact_core((112 if keep_ratio else 128, 32))
    dataset = white_set(core, ImageFormat(32, 128, 3, keep_ratio), augmenter)
    unmoved = TrainingDataset(dataset.sources, dataset.image_format, None, core_areas=True)
    still = unmoved[(0, 0, 0)]
    assert pixels_apart(seen(still.image), still.core_area > 0) == 0
    operations, moved = set(), 0
    for epoch in range(60):
        plan = augmenter.plan(epoch, 0)
        operations |= {operation.name for operation, _ in plan}
        sample = dataset[(0, 0, epoch)]
        apart = pixels_apart(seen(sample.image), sample.core_area > 0)
        assert apart <= 1, f"epoch {epoch}: {[o.name for o, _ in plan]}"
        moved += not np.array_equal(sample.core_area, still.core_area)
        assert set(np.unique(sample.core_area)) <= {0, 1, 2, 3}
    expected = {"warp and geometry": 6, "rotation": 1}.get(name, 3)
    assert len(operations) == expected, operations
    assert moved >= 50  # a turn by nearly nothing moves nothing


def test_every_mode_takes_a_map_and_grey_images(white_set):
    augmenter = Augmenter(intact_probability=0, seed=2)
    dataset = white_set(exact_core((112, 32)), ImageFormat(32, 128, 1, True), augmenter)
    for epoch in range(20):
        sample = dataset[(0, 0, epoch)]
        assert sample.image.shape == (1, 32, 128)
        assert sample.core_area.shape == (32, 128) and sample.core_area.dtype == np.uint8


def test_the_image_does_not_depend_on_the_map(white_set):
    augmenter = Augmenter(intact_probability=0, seed=3)
    dataset = white_set(exact_core((112, 32)), ImageFormat(), augmenter)
    without = TrainingDataset(dataset.sources, ImageFormat(), augmenter, core_areas=False)
    for epoch in range(10):
        assert np.array_equal(dataset[(0, 0, epoch)].image, without[(0, 0, epoch)].image)


def test_a_batch_in_pinned_memory_has_its_labels_and_core_areas(boxed_lmdb, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
    dataset = samples_of(boxed_lmdb([("cat", boxes_of("cat"))]))
    codecs = build_codecs("act", 25, ("char", "wp"))
    batch = collate([dataset[(0, 0, 0)]], ImageFormat(), True, codecs)
    pinned = batch.pin_memory()
    assert pinned.texts == batch.texts
    for name, ids in batch.ids.items():
        assert torch.equal(ids, pinned.ids[name]) and ids is not pinned.ids[name]
    for name in ("images", "core_area", "has_core_area"):
        one, other = getattr(batch, name), getattr(pinned, name)
        assert torch.equal(one, other) and one is not other


def test_sets_without_boxes_are_read_where_nobody_draws(boxed_lmdb):
    """Readers that know nothing of boxes, as folders, still serve evaluation."""
    opened = LmdbSet(boxed_lmdb([("cat", boxes_of("cat"))]), label_filter())
    only_read = SimpleNamespace(path=opened.path, read=opened.read, numbers=opened.numbers)
    assert EvaluationDataset(only_read, ImageFormat(), opened.numbers)[0].text == "cat"
