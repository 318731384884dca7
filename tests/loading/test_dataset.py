import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from augmentation import Augmenter
from console.progress import RunLog
from dataset import (
    EvaluationDataset,
    ImageFormat,
    TrainingDataset,
    evaluation_loader,
    training_loader,
)
from loading import loader_processes
from loading.loader_processes import start_loading, surviving_batches
from loading.sampling import MixingSampler
from loading.sources import Selection, Source, open_sources
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet
from text import Charset, build_codecs

FILTER = LabelFilter(Charset.load("36"), 25)


@pytest.fixture
def mixed_set(tmp_path, make_lmdb, encode_image):
    """Ten words, of which two have an image that can't be read."""
    records = [(encode_image(f"w{i}"), f"w{i}") for i in range(10)]
    records[3] = (records[3][0][:60], "w3")
    records[7] = (None, "w7")
    return LmdbSet(make_lmdb(tmp_path / "set", records), FILTER)


def first_batches(dataset, count: int, workers: int, sampler=None):
    sampler = sampler or MixingSampler([s.size for s in dataset.sources], [4], seed=3)
    return list(itertools.islice(training_loader(dataset, sampler, workers), count))


def test_unreadable_records_are_replaced_and_reported(mixed_set):
    dataset = TrainingDataset([Source("set", [mixed_set])], ImageFormat(), None)
    batches = first_batches(dataset, 5, workers=0)
    texts = [t for b in batches for t in b.texts]
    assert all(len(b.texts) == 4 and b.images.shape == (4, 3, 32, 128) for b in batches)
    assert "w3" not in texts and "w7" not in texts
    lines = [line for b in batches for line in b.passed_over]
    # Two epochs, and now and then one is tried in another's stead.
    assert 2 <= sum("record 4:" in line for line in lines) <= 4
    assert 2 <= sum("there is no image" in line for line in lines) <= 4


def test_a_source_of_unreadable_images_has_no_sample(tmp_path, make_lmdb):
    records = [(b"no image", f"w{i}") for i in range(5)]
    source = Source("set", [LmdbSet(make_lmdb(tmp_path / "set", records), FILTER)])
    dataset = TrainingDataset([source], ImageFormat(), None)
    sample = dataset[(0, 0, 0)]
    assert sample.image is None
    assert len(sample.passed_over) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(mixed_set, workers):
    augmenter = Augmenter(seed=5)
    dataset = TrainingDataset([Source("set", [mixed_set])], ImageFormat(), augmenter)
    alone, shared = (first_batches(dataset, 6, w) for w in (0, workers))
    for one, other in zip(alone, shared, strict=True):
        assert one.texts == other.texts
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_start_method_of_workers_gives_the_same(mixed_set, method):
    dataset = TrainingDataset([Source("set", [mixed_set])], ImageFormat(), Augmenter(seed=5))
    sampler = MixingSampler([len(mixed_set)], [4], seed=3)
    alone = first_batches(dataset, 2, workers=0)
    loader = training_loader(dataset, sampler, workers=1, start_method=method)
    for one, other in zip(alone, itertools.islice(loader, 2), strict=True):
        assert one.texts == other.texts
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("method", [None, "spawn"])
def test_workers_encode_the_labels(mixed_set, method):
    codecs = build_codecs("0123456789w", 25, ("char", "bpe", "wp"))
    source = Source("set", [mixed_set])
    dataset = TrainingDataset([source], ImageFormat(), None, codecs=codecs)
    loader = training_loader(dataset, MixingSampler([source.size], [4], seed=3), 1, False, method)
    batch = next(iter(loader))
    assert list(batch.ids) == ["char", "bpe", "wp"]
    for name, codec in codecs.items():
        assert np.array_equal(batch.ids[name], codec.encode_batch(batch.texts))
    assert batch.unlearnable == {"char": 0, "bpe": 0, "wp": 0}


def test_the_dataset_survives_pickling_for_spawned_workers(mixed_set):
    dataset = TrainingDataset([Source("set", [mixed_set])], ImageFormat(), Augmenter(seed=5))
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy[(0, 2, 1)].image, dataset[(0, 2, 1)].image)


def test_augmentation_differs_by_epoch_and_keeps_the_label(mixed_set):
    augmenter = Augmenter(intact_probability=0.0, seed=5)
    dataset = TrainingDataset([Source("set", [mixed_set])], ImageFormat(), augmenter)
    one, other = dataset[(0, 0, 0)], dataset[(0, 0, 1)]
    assert one.text == other.text == "w0"
    assert not np.array_equal(one.image, other.image)


def test_grey_input_has_one_channel(mixed_set):
    augmenter = Augmenter(intact_probability=0.0, seed=5)
    for used in (None, augmenter):
        image_format = ImageFormat(channels=1)
        dataset = TrainingDataset([Source("set", [mixed_set])], image_format, used)
        assert dataset[(0, 0, 0)].image.shape == (1, 32, 128)


def test_padding_keeps_the_ratio(mixed_set):
    image_format = ImageFormat(keep_ratio=True)
    image = TrainingDataset([Source("set", [mixed_set])], image_format, None)[(0, 0, 0)].image
    width = 96  # 60x20 pixels at height 32
    assert image[:, :, :width].any()
    assert not image[:, :, width:].any()


def test_evaluation_leaves_out_and_reports_unreadable_images(mixed_set):
    dataset = EvaluationDataset(mixed_set, ImageFormat(), mixed_set.numbers)
    batches = list(evaluation_loader(dataset, batch_size=3, workers=2))
    assert [t for b in batches for t in b.texts] == [f"w{i}" for i in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert sum(len(b.passed_over) for b in batches) == 2


def test_a_batch_without_a_readable_image_is_empty(tmp_path, make_lmdb):
    opened = LmdbSet(make_lmdb(tmp_path / "set", [(b"", "a"), (b"x", "b")]), FILTER)
    dataset = EvaluationDataset(opened, ImageFormat(), opened.numbers)
    (batch,) = evaluation_loader(dataset, batch_size=2, workers=0)
    assert batch.images.shape == (0, 3, 32, 128)
    assert len(batch.passed_over) == 2


def test_sources_and_shares(data_tree):
    selection = Selection(data_tree / "training", "MJ-ST", "0.7-0.3")
    sources = open_sources(selection, FILTER)
    assert [(s.name, s.size) for s in sources] == [("MJ", 30), ("ST", 10)]
    assert selection.ratios() == [0.7, 0.3]
    assert Selection(data_tree / "training", "MJ-ST").ratios() == [0.5, 0.5]


def test_a_source_is_known_by_its_records(tmp_path, make_lmdb, encode_image):
    def identity(name, *words):
        make_lmdb(tmp_path / name / "A", [(encode_image(word), word) for word in words])
        (source,) = open_sources(Selection(tmp_path / name, "A"), FILTER)
        return source.identity

    own = identity("one", "cat", "dog")
    assert identity("copy", "cat", "dog") == own != identity("other", "cat", "cow")


def test_records_that_are_drawn_from_twice_are_told(data_tree, capsys):
    open_sources(Selection(data_tree / "training", "MJ-ST"), FILTER, RunLog())
    assert "more than once" not in capsys.readouterr().out
    open_sources(Selection(data_tree / "training", "MJ_train-MJ"), FILTER, RunLog())
    told = capsys.readouterr().out
    assert told.count("more than once") == 1 and "MJ/MJ_train is drawn from" in told


@pytest.mark.parametrize(
    ("select", "ratio", "message"),
    [
        ("MJ-ST", "1", "1 shares for the 2 parts .* give one for each .dashes separate folders"),
        ("MJ", "half", "numbers above 0"),
        ("MJ", "0", "numbers above 0"),
        ("MJ-ST", "nan-1", "numbers above 0"),
    ],
)
def test_shares_that_do_not_fit_are_refused(data_tree, select, ratio, message):
    with pytest.raises(DataError, match=message):
        Selection(data_tree / "training", select, ratio).ratios()


# A GPU's batches pass through a thread of their own, which waits for the workers then.
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
PINNED = [False, pytest.param(True, marks=[pytest.mark.gpu, NEEDS_GPU], id="pinned")]


class Deadly(TrainingDataset):
    """Ends its process at a sample, as often as there are files in a folder."""

    def __init__(self, sources, folder):
        super().__init__(sources, ImageFormat(), None)
        self.folder = folder

    def __getitem__(self, key):
        lives = sorted(self.folder.iterdir())
        if key[1] == 2 and lives:
            lives[0].unlink()
            self.die()
        return super().__getitem__(key)

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def noticed_soon(monkeypatch):
    """A loader looks for dead workers several times a second, instead of every five."""
    looking = _MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(looking, "__defaults__", (0.2,))


@pytest.mark.usefixtures("noticed_soon")
@pytest.mark.parametrize("pinned", PINNED)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_changes_nothing(mixed_set, tmp_path, workers, pinned):
    sources, said = [Source("set", [mixed_set])], []
    folder = tmp_path / "lives"
    folder.mkdir()

    def some_batches():
        sampler = MixingSampler([sources[0].size], [4], seed=3)
        loader = training_loader(Deadly(sources, folder), sampler, workers, pin_memory=pinned)
        batches = surviving_batches(loader, said.append)
        taken = []
        for _ in range(6):
            taken.append(next(batches))
            time.sleep(0.1)  # most deaths come while this process is busy: nothing may raise here
        return taken

    undisturbed = some_batches()
    assert not said
    for number in range(2):
        (folder / str(number)).touch()
    for one, other in zip(undisturbed, some_batches(), strict=True):
        assert one.texts == other.texts and torch.equal(one.images, other.images)
    assert len(said) == 2 and "a process that loads data died" in said[0]


class CutsOff(Deadly):
    """Ends its process while it hands over the batch of a sample."""

    def die(self):
        whole = Connection._send

        def half(connection, message):
            if threading.current_thread().name == "QueueFeederThread":  # which sends batches
                os.write(connection.fileno(), message[: len(message) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            whole(connection, message)

        Connection._send = half


@pytest.fixture
def within_a_minute():
    """Fails in whatever waits for ever; by no Exception, which a loader may take for a death."""

    def late(*_):
        pytest.fail("a minute is over")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("within_a_minute")
@pytest.mark.parametrize("pinned", PINNED)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_in_the_midst_of_a_message(
    mixed_set, tmp_path, monkeypatch, workers, pinned
):
    monkeypatch.setattr(loader_processes, "UNNOTICED", 0.5)
    source, said = Source("set", [mixed_set]), []
    lives = tmp_path / "lives"
    lives.mkdir()

    def some_batches():
        dataset = CutsOff([source], lives)
        sampler = MixingSampler([source.size], [4], seed=3)
        loader = training_loader(dataset, sampler, workers, pin_memory=pinned)
        return list(itertools.islice(surviving_batches(loader, said.append), 6))

    undisturbed = some_batches()
    (lives / "one").touch()
    for one, other in zip(undisturbed, some_batches(), strict=True):
        assert one.texts == other.texts and torch.equal(one.images, other.images)
    assert len(said) == 1 and "starting others" in said[0]


def test_workers_that_have_done_their_work_are_not_cut_off(mixed_set, monkeypatch):
    monkeypatch.setattr(loader_processes, "UNNOTICED", 0.5)
    killed, watching = [], []
    monkeypatch.setattr(BaseProcess, "kill", lambda process: killed.append(process))
    dataset = EvaluationDataset(mixed_set, ImageFormat(), mixed_set.numbers)
    for _ in range(5):
        batches = start_loading(evaluation_loader(dataset, 2, workers=2))
        running = threading.enumerate()
        watching += [t for t in running if t.name.endswith("(_cut_off_at_death)")]
        assert len(list(batches)) == 5
        del batches
    for thread in watching:
        thread.join()
    assert len(watching) >= 5 and not killed


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()]
)
def test_a_worker_that_dies_while_it_hands_over_a_batch(mixed_set, monkeypatch, error):
    source, said, receive = Source("set", [mixed_set]), [], reduction.recv_handle

    def cut_off_once(connection):
        monkeypatch.setattr(reduction, "recv_handle", receive)
        raise error

    def two_batches():
        dataset = TrainingDataset([source], ImageFormat(), None)
        loader = training_loader(dataset, MixingSampler([source.size], [4], seed=3), 1)
        batches = surviving_batches(loader, said.append)
        return [next(batches) for _ in range(2)]

    undisturbed = two_batches()
    monkeypatch.setattr(reduction, "recv_handle", cut_off_once)
    for one, other in zip(undisturbed, two_batches(), strict=True):
        assert one.texts == other.texts and torch.equal(one.images, other.images)
    assert len(said) == 1 and "starting others" in said[0]


class Refused(TrainingDataset):
    """Raises what a death may raise, too."""

    def __getitem__(self, key):
        raise ConnectionRefusedError("a server of images")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_living_worker_raises_is_passed_on(mixed_set, workers):
    source, said = Source("set", [mixed_set]), []
    dataset = Refused([source], ImageFormat(), None)
    loader = training_loader(dataset, MixingSampler([source.size], [4], seed=3), workers)
    with pytest.raises(ConnectionRefusedError, match="a server of images"):
        next(surviving_batches(loader, said.append))
    assert not said


@pytest.mark.usefixtures("noticed_soon")
def test_workers_that_die_again_and_again_end_it(mixed_set, tmp_path):
    folder = tmp_path / "lives"
    folder.mkdir()
    for number in range(50):
        (folder / str(number)).touch()
    source, said = Source("set", [mixed_set]), []
    dataset = Deadly([source], folder)
    loader = training_loader(dataset, MixingSampler([source.size], [source.size], seed=3), 1)
    with pytest.raises(DataError, match=r"died 4 times in a row .* lower --workers"):
        next(surviving_batches(loader, said.append))
    assert len(said) == 3


HOLDS_AN_ITERATOR = """
import sys
from dataset import EvaluationDataset, ImageFormat, evaluation_loader
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from loading.loader_processes import start_loading
from text import Charset

records = LmdbSet(sys.argv[1], LabelFilter(Charset.load("36"), 25))
dataset = EvaluationDataset(records, ImageFormat(), records.numbers)
batches = start_loading(evaluation_loader(dataset, 2, workers=2))
print(len(next(batches).texts))
"""


def test_a_program_that_still_has_an_iterator_ends(mixed_set):
    command = [sys.executable, "-c", HOLDS_AN_ITERATOR, str(mixed_set.path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
