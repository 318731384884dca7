"""The loader's bench: its stages are the loader's own, and its figures add up."""

import json
import math

import pytest
import torch

from dataset import TrainingDataset, training_loader
from loading.sampling import MixingSampler
from loading.sources import Source
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from text import Charset
from tools import bench_data


@pytest.fixture
def words(tmp_path, make_lmdb, encode_image):
    records = [(encode_image(word, form="JPEG"), word) for word in ("cat", "dog", "sun")]
    return make_lmdb(tmp_path / "words", records)


def test_the_last_stage_is_what_the_loader_gives(words):
    opened = LmdbSet(words, LabelFilter(Charset.load("36"), 25))
    sampler = MixingSampler([3], [3], seed=1)
    indices = [index for _, index, _ in sampler.keys(0)]
    dataset = TrainingDataset([Source("data", [opened])], bench_data.FORMAT, None)
    loaded = next(iter(training_loader(dataset, sampler, workers=0)))
    for opening in (bench_data.our_stages, bench_data.plain_stages):
        with opening(opened) as stages:
            made = stages[bench_data.UNAUGMENTED](indices)
        assert torch.equal(getattr(made, "images", made), loaded.images)


@pytest.fixture(autouse=True)
def every_core(monkeypatch):
    """The affinity would stay with the other tests of this process."""
    monkeypatch.delattr(bench_data.os, "sched_setaffinity", raising=False)


def test_figures_are_printed_and_kept(words, tmp_path, capsys, one_thread):
    file = tmp_path / "bench.json"
    arguments = ["--data", str(words), "--images", "110", "--rounds", "2", "--json", str(file)]
    bench_data.main([*arguments, "--gpu_rate", "1e6"])
    rows = json.loads(file.read_text())
    rates = {row["stage"]: row["images_per_s_core"] for row in rows}
    stages = ["read", "decode", "resize", bench_data.UNAUGMENTED, "randaug", "collate"]
    plain = [f"plain {stage}" for stage in stages]
    assert [row["stage"] for row in rows] == [*stages, *plain, "render easy", "render normal"]
    assert min(rates.values()) > 0
    shown = capsys.readouterr().out
    assert f"needs {math.ceil(1e6 / rates['collate'])} such core" in shown


def test_data_that_cannot_be_read_is_named(tmp_path, make_lmdb, capsys):
    make_lmdb(tmp_path / "bad", [(b"no image", "cat")])
    for place, message in (("missing", "is missing"), ("bad", "Record 1 of")):
        with pytest.raises(SystemExit, match="2"):
            bench_data.main(["--data", str(tmp_path / place)])
        assert message in capsys.readouterr().err
