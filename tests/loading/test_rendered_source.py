"""Words that are rendered while training: a pure stream, mixed with LMDBs like any source."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from augmentation import Augmenter
from dataset import ImageFormat, TrainingDataset, training_loader
from loading.preprocessing import preprocess
from loading.sampling import MixingSampler
from loading.sources import RenderedSource, Selection, open_sources
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from synthetic import Renderer, StreamSettings, find_faces
from text import Charset

FILTER = LabelFilter(Charset.load("36"), 25)
SETTINGS = StreamSettings(packaged_fonts_only=True)


@pytest.fixture(scope="module")
def stream():
    return RenderedSource(SETTINGS, FILTER, seed=7)


def batches(dataset, sampler, count, workers=0):
    loader = iter(training_loader(dataset, sampler, workers))
    return [next(loader) for _ in range(count)]


def test_a_sample_is_the_renderers_word(stream):
    renderer = Renderer("normal", fonts=find_faces(system_fonts=False), seed=7)
    dataset = TrainingDataset([stream], ImageFormat(), None, core_areas=True)
    for index in (0, 5, 10**12):
        word, sample = renderer.sample(index), dataset[(0, index, 0)]
        image, text = stream.read(index)
        assert (sample.text, text) == (word.text.lower(), word.text.lower())
        assert np.array_equal(sample.image, preprocess(image, 32, 128))
        assert set(np.unique(sample.core_area)) <= set(range(len(word.text) + 1))
        assert sample.core_area.any()


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_a_later_start_change_nothing(stream, workers):
    dataset = TrainingDataset([stream], ImageFormat(), Augmenter(seed=3))
    whole = batches(dataset, MixingSampler([None], [5], seed=1), 4)
    later = batches(dataset, MixingSampler([None], [5], seed=1, consumed=[10]), 2, workers)
    for one, other in zip(whole[2:], later, strict=True):
        assert one.texts == other.texts
        assert np.array_equal(one.images, other.images)


def test_each_word_is_drawn_once_over_all_ranks():
    keys = []
    for rank in (0, 1):
        sampler = MixingSampler([None, 10], [3, 1], seed=1, rank=rank, world_size=2)
        keys += [key for b in range(5) for key in sampler.keys(b) if key[0] == 0]
    assert sorted(index for _, index, _ in keys) == list(range(30))
    assert {epoch for *_, epoch in keys} == {0}


def test_it_mixes_with_lmdbs_by_share(data_tree):
    selection = Selection(
        data_tree / "training", "MJ-synthetic", "0.25-0.75", boxes=True, stream=SETTINGS
    )
    sources = open_sources(selection, FILTER)
    assert [(s.name, s.size) for s in sources] == [("MJ", 30), ("synthetic", None)]
    dataset = TrainingDataset(sources, ImageFormat(), None, core_areas=True)
    (batch,) = batches(dataset, MixingSampler([30, None], [2, 6], seed=1), 1)
    assert batch.has_core_area.tolist() == [False] * 2 + [True] * 6
    described = sources[1].describe()["synthetic"]
    assert "level normal" in described and "digest " in described


def test_no_folder_is_needed_for_it_alone():
    (source,) = open_sources(Selection(None, "synthetic", stream=SETTINGS), FILTER)
    assert source.size is None
    with pytest.raises(DataError, match="needs --train_data"):
        open_sources(Selection(None, "MJ-synthetic", stream=SETTINGS), FILTER)


def test_words_that_cannot_be_learned_are_not_drawn(stream):
    short = RenderedSource(SETTINGS, LabelFilter(Charset.load("36"), 4), seed=7)
    words = [short.read(i)[1] for i in range(60)]
    assert 0 < max(map(len, words)) <= 4
    # Where the first draw fits, it is the same stream.
    same = [i for i in range(60) if len(stream.read(i)[1]) <= 4]
    assert same and all(words[i] == stream.read(i)[1] for i in same)
    digits = RenderedSource(SETTINGS, LabelFilter(Charset("0123456789"), 25), seed=7)
    assert all(digits.read(i)[1].isdigit() for i in range(20))


def test_a_charset_that_no_word_has_is_named():
    greek = LabelFilter(Charset("αβγ"), 25)
    with pytest.raises(DataError, match="check the charset"):
        open_sources(Selection(None, "synthetic", stream=SETTINGS), greek)


def test_it_survives_pickling_for_spawned_workers(stream):
    again = pickle.loads(pickle.dumps(stream))
    image, text = again.read(3)
    assert text == stream.read(3)[1]
    assert np.array_equal(image, stream.read(3)[0])


def test_its_identity_is_that_of_its_images(stream, tmp_path):
    def identity(seed=7, label_filter=FILTER, **changes):
        return RenderedSource(replace(SETTINGS, **changes), label_filter, seed).identity

    file = tmp_path / "words.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    words = identity(words=str(file))
    file.write_text("one\nsix\n", encoding="utf-8")
    found = [stream.identity, identity(seed=8), identity(curved=0.9), words]
    found += [identity(words=str(file)), identity(level="easy")]
    assert len(set(found)) == len(found)
    assert identity() == stream.identity


def test_words_with_characters_outside_the_charset_are_left_out(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("hello\nT\u6064x\nO'Neill\n", encoding="utf-8")
    settings = replace(SETTINGS, words=str(file))
    (source,) = open_sources(Selection(None, "synthetic", stream=settings), FILTER)
    assert {source.read(i)[1] for i in range(9)} == {"hello"}
    assert "1 words of" in source.describe()["synthetic"]
    assert "(2 left out)" in source.describe()["synthetic"]


def test_a_source_is_not_named_twice():
    with pytest.raises(DataError, match="names a source twice"):
        Selection(None, "synthetic-synthetic").ratios()
