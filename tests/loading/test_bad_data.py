"""Whatever lies in a data set: a run goes on, counts it and says so, or stops with a cure."""

import io
import shutil
import struct
import zlib
from types import SimpleNamespace

import lmdb
import numpy as np
import pytest
from PIL import Image

from dataset import (
    EvaluationDataset,
    ImageFormat,
    TrainingDataset,
    evaluation_loader,
    training_loader,
)
from loading.loader_processes import surviving_batches
from loading.sampling import MixingSampler
from loading.sources import Source
from records.label_filter import LabelFilter
from records.labelled_folder import LabelledFolder
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet, close_environments
from text import Charset

FILTER = LabelFilter(Charset.load("36"), 25)
GOOD = ("cat", "dog", "sun")


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + parts


WORD = Image.new("RGB", (60, 20), (200, 30, 40))
JPEG = saved(WORD, "JPEG")
FRAMES = [Image.new("P", (20, 10), shade) for shade in (0, 9)]
ODD_BUT_READABLE = {
    "1x1": saved(WORD.resize((1, 1)), "PNG"),
    "20,000x3": saved(Image.new("RGB", (20_000, 3), "red"), "PNG"),
    "3x20,000": saved(Image.new("RGB", (3, 20_000), "red"), "JPEG"),
    "CMYK": saved(WORD.convert("CMYK"), "JPEG"),
    "16 bits": saved(Image.fromarray(np.full((20, 60), 40_000, np.uint16)), "PNG"),
    "palette with alpha": saved(WORD.quantize(8), "PNG", transparency=0),
    "grey with alpha": saved(WORD.convert("LA"), "PNG"),
    "animated GIF": saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
}
UNREADABLE = {
    "truncated JPEG": JPEG[: len(JPEG) * 2 // 3],
    "zero bytes": b"",
    "a million zeros": bytes(10**6),
    "decompression bomb": bomb(),
    "just beyond Pillow's warning": bomb(10_000, 9_000),
    "text": b"<html>not found</html>",
    "no key": None,
}


def opened(make_lmdb, path, records) -> LmdbSet:
    good = [(saved(WORD, "PNG"), word) for word in GOOD]
    return LmdbSet(make_lmdb(path, [*good, *records]), FILTER)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("core_areas", [False, True])
def test_odd_images_are_read_and_bad_ones_passed_over(tmp_path, make_lmdb, workers, core_areas):
    images = list(ODD_BUT_READABLE.values()) + list(UNREADABLE.values())
    records = opened(make_lmdb, tmp_path / "set", [(i, f"w{n}") for n, i in enumerate(images)])
    source = Source("set", [records])
    dataset = TrainingDataset([source], ImageFormat(), None, core_areas)
    loader = iter(training_loader(dataset, MixingSampler([source.size], [6], seed=1), workers))
    batches = [next(loader) for _ in range(6)]
    seen = {text for batch in batches for text in batch.texts}
    assert seen == {*GOOD, *(f"w{n}" for n in range(len(ODD_BUT_READABLE)))}
    assert all(batch.images.shape == (6, 3, 32, 128) for batch in batches)
    passed_over = {line.split(": ")[0] for batch in batches for line in batch.passed_over}
    first = len(GOOD) + len(ODD_BUT_READABLE) + 1
    expected = range(first, first + len(UNREADABLE))
    assert passed_over == {f"{tmp_path / 'set'} record {number}" for number in expected}


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_counts_what_it_cannot_read(tmp_path, make_lmdb, workers):
    images = list(ODD_BUT_READABLE.values()) + list(UNREADABLE.values())
    records = opened(make_lmdb, tmp_path / "set", [(i, f"w{n}") for n, i in enumerate(images)])
    dataset = EvaluationDataset(records, ImageFormat(), records.numbers)
    batches = list(evaluation_loader(dataset, 4, workers))
    assert sum(len(b.texts) for b in batches) == len(GOOD) + len(ODD_BUT_READABLE)
    assert sum(len(b.passed_over) for b in batches) == len(UNREADABLE)


def test_a_sixteen_bit_image_is_not_white(tmp_path, make_lmdb):
    records = opened(make_lmdb, tmp_path / "set", [(ODD_BUT_READABLE["16 bits"], "x")])
    dataset = TrainingDataset([Source("set", [records])], ImageFormat(), None)
    assert np.unique(dataset[(0, 3, 0)].image).tolist() == [40_000 >> 8]


def test_a_long_stretch_of_bad_records_ends_nothing(tmp_path, make_lmdb):
    bad = range(100, 1400)
    words = [(b"" if number in bad else JPEG, f"w{number}") for number in range(1500)]
    source = Source("set", [LmdbSet(make_lmdb(tmp_path / "set", words), FILTER)])
    dataset = TrainingDataset([source], ImageFormat(), None)
    samples = [dataset[(0, index, 0)] for index in range(90, 150)]
    assert all(sample.image is not None for sample in samples)
    # Not the stretch's one neighbour again and again.
    assert len({sample.record for sample in samples}) > 40
    again = [dataset[(0, index, 0)].record for index in range(90, 150)]
    assert again == [sample.record for sample in samples]
    assert [dataset[(0, i, 1)].record for i in range(90, 150)] != again


def test_no_more_than_a_limit_is_tried(tmp_path, make_lmdb, monkeypatch):
    monkeypatch.setattr("dataset.MAX_UNREADABLE", 30)
    words = [(b"", f"w{number}") for number in range(100)]
    source = Source("set", [LmdbSet(make_lmdb(tmp_path / "set", words), FILTER)])
    sample = TrainingDataset([source], ImageFormat(), None)[(0, 5, 0)]
    assert sample.image is None and len(set(sample.passed_over)) == 30


LABELS = {
    "invalid UTF-8": (b"\xff\xfe\xfa", "label is not UTF-8"),
    "empty": ("", "no character of the charset in it"),
    "10,000 characters": ("x" * 10_000, "longer than 25 characters"),
    "foreign characters alone": ("你好", "no character of the charset in it"),
    "no key": (None, "no label"),
    "half a pickle": (b"\x80\x03}q\x00", "label is damaged"),
}


@pytest.mark.parametrize("name", LABELS)
def test_bad_labels_are_left_out_and_counted_at_the_start(tmp_path, make_lmdb, name):
    label, reason = LABELS[name]
    records = opened(make_lmdb, tmp_path / "set", [(JPEG, label)])
    assert records.numbers.tolist() == [1, 2, 3]
    assert sum(records.report.dropped.values()) == 1
    assert records.report.dropped == {reason: 1}
    assert "1 dropped" in str(records.report)


BEYOND = "beyond what num-samples counts"


@pytest.mark.parametrize(
    ("declared", "kept", "dropped"),
    [(1, 1, {BEYOND: 2}), (2, 2, {BEYOND: 1}), (3, 3, {}), (5, 3, {"no label": 2})],
)
def test_a_wrong_count_is_told(tmp_path, make_lmdb, declared, kept, dropped):
    good = [(JPEG, word) for word in GOOD]
    records = LmdbSet(make_lmdb(tmp_path / "set", good, declared=declared), FILTER)
    assert len(records) == kept
    assert records.report.dropped == dropped


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_an_lmdb_that_was_cut_off_is_refused_at_the_start(tmp_path, make_lmdb, part):
    noise = np.random.default_rng(0).integers(0, 256, (40, 150, 3), dtype=np.uint8)
    path = make_lmdb(tmp_path / "set", [(saved(Image.fromarray(noise), "PNG"), "word")] * 100)
    assert len(LmdbSet(path, FILTER)) == 100
    close_environments()
    whole = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(DataError, match=r"was cut off: data.mdb has .* Copy it again"):
        LmdbSet(path, FILTER)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
def test_an_lmdb_with_damaged_pages_is_refused_at_the_start(tmp_path, make_lmdb, part, filler):
    """As a download leaves it that was given its size first and then broke off."""
    path = make_lmdb(tmp_path / "set", [(JPEG, f"word{n}") for n in range(3000)])
    file = path / "data.mdb"
    whole = file.read_bytes()
    close_environments()
    kept = int(len(whole) * part)
    file.write_bytes(whole[:kept] + filler * (len(whole) - kept))
    with pytest.raises(DataError, match=r"is damaged: .* Copy it or make it again"):
        LmdbSet(path, FILTER)


def test_a_whole_lmdb_may_end_in_pages_that_nothing_is_in(tmp_path, make_lmdb):
    path = make_lmdb(tmp_path / "set", [(JPEG, word) for word in GOOD])
    with lmdb.open(str(path)) as environment:
        with environment.begin(write=True) as transaction:
            transaction.put(b"z", bytes(10**6))
        with environment.begin(write=True) as transaction:
            transaction.delete(b"z")
        for value in (b"1", b"2", b"3"):  # what is in use moves to the pages that became free
            with environment.begin(write=True) as transaction:
                transaction.put(b"a", value)
    file = path / "data.mdb"
    with file.open("r+b") as opened_file:
        opened_file.truncate(file.stat().st_size - 500_000)
    assert len(LmdbSet(path, FILTER)) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_vanishes_ends_in_a_sample_without_an_image(tmp_path, make_lmdb, workers):
    records = opened(make_lmdb, tmp_path / "set", [])
    dataset = TrainingDataset([Source("set", [records])], ImageFormat(), None)
    loader = training_loader(dataset, MixingSampler([3], [2], seed=1), workers)
    shutil.rmtree(tmp_path / "set")
    batch = next(iter(loader))
    assert not batch.texts  # which ends a run, see engine/training.py
    assert "There is no LMDB" in batch.passed_over[0]


def test_memory_that_a_damaged_page_asks_for_is_told(tmp_path, make_lmdb, monkeypatch):
    records = opened(make_lmdb, tmp_path / "set", [])

    def asks(*_):
        raise MemoryError

    monkeypatch.setattr("records.lmdb_set.stored_record", asks)
    for read in (lambda: records.read(1), lambda: next(records.contents())):
        with pytest.raises(DataError, match="no memory for what its pages say"):
            read()


@pytest.mark.parametrize("label", [b"\xff", None, "x" * 26, "...", "a" * 10_000])
def test_an_lmdb_that_is_replaced_while_running_is_not_read_wrongly(tmp_path, make_lmdb, label):
    records = opened(make_lmdb, tmp_path / "set", [])
    dataset = TrainingDataset([Source("set", [records])], ImageFormat(), None)
    close_environments()
    shutil.rmtree(tmp_path / "set")
    make_lmdb(tmp_path / "set", [(JPEG, "new"), (JPEG, label), (JPEG, label)])
    samples = [dataset[(0, index, 0)] for index in range(3)]
    assert {sample.text for sample in samples} == {"new"}
    passed_over = [line for sample in samples for line in sample.passed_over]
    assert passed_over and all("has changed since it was opened" in line for line in passed_over)


def test_images_that_vanish_from_a_folder_are_counted(tmp_path):
    for word in GOOD:
        (tmp_path / f"{word}.png").write_bytes(saved(WORD, "PNG"))
    lines = "".join(f"{word}.png\t{word}\n" for word in GOOD)
    (tmp_path / "gt.txt").write_text(lines, encoding="utf-8")
    folder = LabelledFolder(tmp_path, FILTER)
    (tmp_path / "dog.png").unlink()
    dataset = EvaluationDataset(folder, ImageFormat(), folder.numbers)
    (batch,) = evaluation_loader(dataset, 4, 0)
    assert batch.texts == ["cat", "sun"]
    assert batch.passed_over == [f"{tmp_path / 'dog.png'}: there is no image"]


def test_memory_that_ends_while_a_batch_is_loaded_is_told():
    class Loader:
        batch_sampler, num_workers = SimpleNamespace(), 0

        def __iter__(self):
            raise MemoryError

    with pytest.raises(DataError, match=r"no memory to load a batch .*lower --workers"):
        list(surviving_batches(Loader(), print))
