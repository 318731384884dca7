"""Faults of an LMDB as a whole, planted."""

import operator
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lmdb_tools.crash_proof_pool import CrashProofPool
from lmdb_tools.survey import survey_lmdb
from lmdb_tools.watched_lmdb import BATCH, read_records
from records.lmdb_file import DataError
from system.parallel import WorkerPool

UNREADABLE = {"LMDB can't be read": 1}
MISSING = "record is missing, though num-samples counts it"
UNCOUNTED = "record is there, but num-samples leaves it out"


@pytest.fixture
def large(tmp_path, make_lmdb) -> Path:
    """An LMDB of more than a batch, with images that are none."""
    records = [(b"image %d" % k, f"word{k}") for k in range(2 * BATCH + 10)]
    return make_lmdb(tmp_path / "set", records)


def test_an_lmdb_cut_in_half(tmp_path, make_lmdb, words, found):
    make_lmdb(tmp_path / "whole", words("cat", "dog"))
    file = make_lmdb(tmp_path / "cut", words("owl", "fox") * 100) / "data.mdb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert found(tmp_path) == UNREADABLE


@pytest.mark.parametrize("contents", [b"", b"no LMDB" * 1000, bytes(8192)])
def test_what_is_no_lmdb(contents, tmp_path, make_lmdb, words, check):
    make_lmdb(tmp_path / "a_good", words("cat"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/data.mdb").write_bytes(contents)
    tree = check(tmp_path)
    assert {r.text: n for r, n in tree.findings.counts.items()} == UNREADABLE
    assert [one.usable for one in tree.lmdbs] == [1, 0]


def test_damaged_pages(large, tmp_path, found):
    file = large / "data.mdb"
    damaged = bytearray(file.read_bytes())
    rng = np.random.default_rng(0)
    damaged[8192:] = rng.integers(0, 256, len(damaged) - 8192, dtype=np.uint8).tobytes()
    file.write_bytes(damaged)
    assert found(tmp_path, jobs=2) == UNREADABLE


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (3, {}),
        (2, {UNCOUNTED: 1}),
        (0, {UNCOUNTED: 3}),
        (5, {MISSING: 2}),
        (10**11, {MISSING: 10**11 - 3}),
        (-1, {"num-samples is missing, or no number": 1}),
    ],
)
def test_num_samples(declared, expected, tmp_path, make_lmdb, words, check):
    make_lmdb(tmp_path / "set", words("cat", "dog", "sun"), declared=declared)
    tree = check(tmp_path)
    assert {r.text: n for r, n in tree.findings.counts.items() if n} == expected
    assert (tree.lmdbs[0].records, tree.lmdbs[0].usable) == (3, 3)


def test_num_samples_that_is_no_number(tmp_path, make_lmdb, words, found):
    make_lmdb(tmp_path / "set", words("cat"), declared=-1, num_samples=b"one")
    assert found(tmp_path) == {"num-samples is missing, or no number": 1}


def test_no_records(tmp_path, make_lmdb, found):
    make_lmdb(tmp_path / "set", [])
    assert found(tmp_path) == {"LMDB has no records": 1}


def test_stray_keys(tmp_path, make_lmdb, words, check):
    ((image, label),) = words("cat")
    keys = {
        "image_000000000": image,
        "label_000000000": label.encode(),
        "image_7": image,
        "label_7x": b"x",
        "boxes_999999999": b"[]",
        "note": b"{}",
    }
    make_lmdb(tmp_path / "set", words("dog"), **keys)
    tree = check(tmp_path)
    assert {r.text: n for r, n in tree.findings.counts.items()} == {
        "key is none of a record, though it begins as theirs do": 2,
        UNCOUNTED: 2,
        MISSING: 1,
    }
    assert tree.lmdbs[0].survey.numbers.tolist() == [0, 1, 999999999]


def test_a_gap_below_num_samples(tmp_path, make_lmdb, words, check):
    ((image, _),) = words("cat")
    far = {"image_000000500": image, "label_000000500": b"cat"}
    make_lmdb(tmp_path / "set", words("dog"), declared=600, **far)
    tree = check(tmp_path)
    assert {r.text: n for r, n in tree.findings.counts.items()} == {MISSING: 598}
    assert (tree.lmdbs[0].records, tree.lmdbs[0].usable) == (2, 2)


def test_keys_out_of_order_end(tmp_path, make_lmdb, words, found):
    notes = {"yyyy_yyyyyyyyy": b"{}", "zzzz": b"{}"}
    file = make_lmdb(tmp_path / "set", words("cat"), **notes) / "data.mdb"
    damaged = file.read_bytes().replace(b"yyyy-yyyyyyyyy", b"boxes-00000001")
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    assert found(tmp_path) == UNREADABLE


def test_a_benchmark_of_another_size(tmp_path, make_lmdb, words, found):
    make_lmdb(tmp_path / "evaluation/SVT", words("cat"))
    make_lmdb(tmp_path / "evaluation/mine", words("dog"))
    make_lmdb(tmp_path / "training/SVT", words("owl"))
    make_lmdb(tmp_path / "evaluation/CUTE80", words("sun"), stand_in=b"{}")
    assert found(tmp_path) == {"benchmark has another number of images than others report": 1}


def test_a_file_that_changes_while_it_is_read(large):
    survey = survey_lmdb(large)
    records = read_records(large, survey.stamp, survey.numbers)
    for _ in range(BATCH):
        next(records)
    with (large / "data.mdb").open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(DataError, match="changed while it was read"):
        next(records)
    (large / "data.mdb").unlink()
    with pytest.raises(DataError, match="is gone"):
        next(read_records(large, survey.stamp, survey.numbers))


def test_an_lmdb_that_goes_while_it_is_checked(
    large, tmp_path, make_lmdb, words, monkeypatch, check
):
    make_lmdb(tmp_path / "sound", words("cat"))
    looked = []

    def remove_later(path, stamp, numbers):
        looked.append(path)
        if len(looked) == 2:
            (large / "data.mdb").unlink()
        return read_records(path, stamp, numbers)

    def in_this_process(pool, _jobs):
        pool._pool = WorkerPool(operator.call, jobs=1)

    monkeypatch.setattr(CrashProofPool, "__init__", in_this_process)
    monkeypatch.setattr("lmdb_tools.record_batch.read_records", remove_later)
    tree = check(tmp_path)
    # What was found in its first records is of no use any more.
    assert {r.text: n for r, n in tree.findings.counts.items()} == UNREADABLE
    assert [one.usable for one in tree.lmdbs] == [0, 1]


def test_a_task_that_ends_its_process_does_not_end_the_others():
    kill = partial(signal.raise_signal, signal.SIGKILL)
    with CrashProofPool(2) as pool:
        with pytest.raises(DataError, match="process that read the set was ended"):
            list(pool.run([kill], "the set"))
        *powers, process = pool.run([partial(pow, 2, 3), partial(pow, 3, 2), os.getpid], "")
    assert powers == [8, 9]
    assert process != os.getpid()
