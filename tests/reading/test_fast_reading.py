"""The fast path reads what the plain one reads."""

import copy
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

from models import create_model
from models.codecs import config_codecs
from modules import greedy
from modules.greedy import most_probable, most_probable_of, read_until_stop
from reading import Reader
from reading.images import model_input
from tools import bench_read
from tools.support import bench_process
from tools.support.formula_weights import fill_by_formula, let_readings_stop
from tools.support.reading_rounds import jpegs


@pytest.fixture(scope="module")
def stopping_model():
    """MGP-STR tiny, of whose readings some stop early, some late, and some never."""
    model = create_model("mgp_str_tiny_patch4_3_32_128").eval()
    fill_by_formula(model)
    stop_ids = {name: codec.stop_id for name, codec in config_codecs(model.config).items()}
    let_readings_stop(model, stop_ids, pixels(jpegs(32), model.config), positions=6)
    return model


def pixels(images, config):
    return torch.from_numpy(np.stack([model_input(i, config) for i in images])).float() / 255


def test_300_images_read_the_same(stopping_model):
    images = jpegs(300)
    plain = Reader(stopping_model, "cpu", batch_size=50, fast=False)(images)
    fast = Reader(stopping_model, "cpu", batch_size=50)(images)
    stopped, texts = set(), set()
    for own, other in zip(fast, plain, strict=True):
        assert own.text == other.text
        assert own.granularity == other.granularity
        for name, expected in other.by_granularity.items():
            found = own.by_granularity[name]
            assert (found.text, found.ids) == (expected.text, expected.ids)
            assert found.confidence == pytest.approx(expected.confidence, abs=1e-5)
            assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
            assert max(found.probabilities) > 0.1
            stopped.add(found.stopped)
        texts.add(own.text)
    assert stopped == {True, False}
    assert len(texts) > 10


def test_the_median_reading_has_the_positions_asked_for(stopping_model):
    with torch.inference_mode():
        ids, _ = stopping_model(pixels(jpegs(32), stopping_model.config)).greedy()
    everywhere = set()
    for name, codec in config_codecs(stopping_model.config).items():
        stops = ids[name][:, 1:] == codec.stop_id
        first = torch.where(stops.any(dim=1), stops.int().argmax(dim=1) + 1, 27)
        assert 16 <= (first <= 6).sum() < 24
        everywhere |= set(first.tolist())
    assert len(everywhere) > 5


@pytest.mark.parametrize("logits_at_once", [1, 7 * 20, 10**6])
def test_classes_in_chunks_equal_all_at_once(logits_at_once, monkeypatch):
    monkeypatch.setattr(greedy, "CPU_LOGITS", logits_at_once)
    torch.manual_seed(0)
    head = nn.Linear(6, 45).double()
    features = 5 * torch.randn(20, 6).double()
    features[3] = float("nan")
    with torch.inference_mode():
        ids, probabilities = most_probable(features, head)
        expected_ids, expected = most_probable_of(head(features))
    assert torch.equal(ids[:3], expected_ids[:3])
    assert torch.equal(ids[4:], expected_ids[4:])
    torch.testing.assert_close(probabilities, expected, rtol=1e-12, atol=0, equal_nan=True)


def test_no_probability_is_above_1():
    torch.manual_seed(0)
    head, features = nn.Linear(48, 600), torch.randn(4000, 48)
    with torch.inference_mode():
        head.weight.mul_(30)
        _, probabilities = most_probable(features, head)
    assert probabilities.max() == 1 and (probabilities > 0.9999).sum() > 300


@pytest.mark.parametrize("positions", [2, 5, 6, 27])
def test_rows_are_read_up_to_their_stop(positions):
    torch.manual_seed(1)
    stop_id = 3
    head = nn.Linear(8, 12)
    features = 3 * torch.randn(64, positions, 8)
    features[:, :1] = 0
    with torch.inference_mode():
        ids, probabilities = read_until_stop(features, head, stop_id)
        expected_ids, expected = most_probable_of(head(features))
    assert ids[:, 0].eq(stop_id).all()
    lengths = set()
    for row in range(len(features)):
        stops = expected_ids[row, 1:].eq(stop_id).nonzero()
        length = int(stops[0]) + 1 if len(stops) else positions - 1
        lengths.add(length)
        used = slice(1, 1 + length)
        assert torch.equal(ids[row, used], expected_ids[row, used])
        torch.testing.assert_close(probabilities[row, used], expected[row, used])
    assert len(lengths) > 1 or positions == 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_reads_the_same():
    torch.manual_seed(0)
    model = create_model("mgp_str_mini_stem8x8_3_32_128", depth=1, granularities=("char",)).eval()
    images = jpegs(3)
    plain = Reader(model, "cpu")(images)
    reader = Reader(copy.deepcopy(model), "cpu", compiled=True)
    reader.recognition.use_up_model()
    for readings in (reader(images), copy.deepcopy(reader)(images), reader(images, attention=True)):
        assert [r.text for r in readings] == [r.text for r in plain]
        assert [r.confidence for r in readings] == pytest.approx([r.confidence for r in plain])
    with pytest.raises(ValueError, match="only the fast path can be compiled"):
        Reader(model, "cpu", fast=False, compiled=True)


def test_no_images_have_no_ids():
    ids, probabilities = read_until_stop(torch.zeros(0, 27, 8), nn.Linear(8, 12), stop_id=3)
    assert ids.shape == probabilities.shape == (0, 27)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_weights_are_read_with(dtype):
    torch.manual_seed(0)
    name = "mgp_str_mini_stem8x8_3_32_128"
    model, other = (create_model(name, depth=1, granularities=("char",)).eval() for _ in range(2))
    reader = Reader(model, "cpu", dtype=dtype)
    images = jpegs(2)
    before = reader(images)
    model.load_state_dict(other.state_dict())
    after = reader(images)
    assert after == Reader(other, "cpu", dtype=dtype)(images)
    assert after != before


@pytest.mark.parametrize(
    ("option", "types", "tables"),
    [
        ("--stopping_only", ["fp32", "bf16"], ["rows"]),
        ("--types=fp32", ["fp32"], ["rows", "never_stopping"]),
    ],
)
def test_the_bench_measures_every_path(option, types, tables, tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    pytest.importorskip("sentencepiece")
    name = "mgp_str_tiny_patch4_3_32_128"
    monkeypatch.setitem(bench_process.MATRIX, "cpu", 64)
    arguments = ["--models", name, "--batches", "1", "--images", "1", "--rounds", "1", option]
    arguments += ["--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["bench_read.py", *arguments])
    bench_read.main()
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert list(found) == tables
    paths = {(path, dtype) for path in ("plain", "fast", "transformers") for dtype in types}
    for rows in found.values():
        assert {(row["path"], row["dtype"]) for row in rows} == paths
    for row in (row for rows in found.values() for row in rows):
        assert (row["model"], row["batch"]) == (name, 1)
        assert min(row[k] for k in ("images_per_s", "p50_ms", "p99_ms", "peak_mib", "share")) > 0
    for dtype in ("fp32", "bf16"):
        assert (f"fast in {dtype} / transformers in fp32: speed" in shown) == (dtype in types)
    assert ("if no word ever stopped" in shown) == ("never_stopping" in tables)
