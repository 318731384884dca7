"""The index beside an LMDB: the same records as a pass over all labels, and only while it fits."""

import json
import os
import pickle
import tempfile
import time

import lmdb
import numpy as np
import pytest

from console.progress import RunLog
from records import record_index
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet, close_environments
from text import Charset

FILTER = LabelFilter(Charset.load("36"), 25)
LABELS = ["cat", "x" * 30, None, b"\xff", "dog!", "...", "sun", "tea"]


@pytest.fixture
def path(tmp_path, make_lmdb):
    boxes = {f"boxes_{n:09d}": b"[]" for n in (1, 2, 7, 8)}
    return make_lmdb(tmp_path / "set", [(b"image", label) for label in LABELS], **boxes)


@pytest.fixture
def scans(monkeypatch):
    """Counts the passes over labels."""
    passes = []
    scan = record_index._scan

    def counted(*arguments):
        passes.append(arguments)
        return scan(*arguments)

    monkeypatch.setattr(record_index, "_scan", counted)
    return passes


def test_the_second_start_reads_no_labels_and_finds_the_same(path, scans):
    first, second = (LmdbSet(path, FILTER, boxes=True) for _ in range(2))
    assert len(scans) == 1
    assert first.numbers.tolist() == second.numbers.tolist() == [1, 5, 7, 8]
    assert first.report == second.report
    assert second.report.kept == 4 and second.report.with_boxes == 3
    assert second.report.dropped == {
        "longer than 25 characters": 1,
        "no label": 1,
        "label is not UTF-8": 1,
        "no character of the charset in it": 1,
    }
    assert second.report.altered == 1


def test_a_part_of_the_records_counts_its_own_boxes(path):
    LmdbSet(path, FILTER)
    part = LmdbSet(path, FILTER, usage_ratio=0.75, boxes=True)
    assert part.numbers.tolist() == [1, 5, 7] and part.report.with_boxes == 2
    assert LmdbSet(path, FILTER, boxes=True).report.with_boxes == 3


def test_each_filter_has_its_own(path, scans):
    sensitive = LabelFilter(Charset.load("94"), 25)
    for label_filter in (FILTER, sensitive, FILTER, sensitive):
        LmdbSet(path, label_filter)
    assert len(scans) == 2
    assert LmdbSet(path, sensitive).numbers.tolist() == [1, 5, 6, 7, 8]


def test_another_file_is_read_anew(path, scans):
    LmdbSet(path, FILTER)
    close_environments()
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"label-000000003", b"new")
    assert LmdbSet(path, FILTER).numbers.tolist() == [1, 3, 5, 7, 8]
    assert len(scans) == 2


def test_a_touched_file_is_read_anew(path, scans):
    LmdbSet(path, FILTER)
    os.utime(path / "data.mdb", (time.time() + 5, time.time() + 5))
    LmdbSet(path, FILTER)
    assert len(scans) == 2


def _garble_json(folder):
    (file,) = folder.glob("*.json")
    file.write_text("{", encoding="utf-8")


def _cut_numbers(folder):
    (file,) = folder.glob("*.numbers.npy")
    file.write_bytes(file.read_bytes()[:-4])


def _wrong_type(folder):
    (file,) = folder.glob("*.numbers.npy")
    np.save(file, np.array([1.0, 5, 7, 8]))


def _beyond_the_end(folder):
    (file,) = folder.glob("*.numbers.npy")
    np.save(file, np.array([1, 5, 7, 9], np.uint32))


def _fewer(folder):
    (file,) = folder.glob("*.numbers.npy")
    np.save(file, np.array([1, 5], np.uint32))


def _changed_in_the_middle(folder):
    (file,) = folder.glob("*.numbers.npy")
    np.save(file, np.array([1, 4, 7, 8], np.uint32))


def _zip(folder):
    (file,) = folder.glob("*.numbers.npy")
    file.write_bytes(b"PK\x03\x04" + file.read_bytes())


def _nested_json(folder):
    (file,) = folder.glob("*.json")
    file.write_text("[" * 200_000, encoding="utf-8")


def _pickled(folder):
    (file,) = folder.glob("*.numbers.npy")
    np.save(file, np.array([{}, 5], object), allow_pickle=True)


def _no_boxes(folder):
    (file,) = folder.glob("*.boxed.npy")
    file.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _garble_json,
        _nested_json,
        _cut_numbers,
        _wrong_type,
        _beyond_the_end,
        _changed_in_the_middle,
        _fewer,
        _zip,
        _pickled,
        _no_boxes,
    ],
)
def test_a_damaged_index_is_made_anew(path, scans, damage):
    LmdbSet(path, FILTER)
    damage(path / record_index.FOLDER)
    assert LmdbSet(path, FILTER, boxes=True).numbers.tolist() == [1, 5, 7, 8]
    assert len(scans) == 2
    LmdbSet(path, FILTER)
    assert len(scans) == 2


def _forbid(folder):
    """Even to the superuser: a file stands where the folder would be."""
    folder.write_text("")


def test_a_read_only_folder_has_its_index_in_the_cache(tmp_path, path, scans, monkeypatch):
    monkeypatch.setenv(record_index.CACHE_VARIABLE, str(tmp_path / "cache"))
    _forbid(path / record_index.FOLDER)
    for _ in range(2):
        assert LmdbSet(path, FILTER).numbers.tolist() == [1, 5, 7, 8]
    assert len(scans) == 1
    assert list((tmp_path / "cache").rglob("*.json"))


def test_where_no_index_can_be_kept_it_is_said(tmp_path, path, scans, monkeypatch, capsys):
    monkeypatch.setenv(record_index.CACHE_VARIABLE, str(tmp_path / "cache"))
    _forbid(path / record_index.FOLDER)
    _forbid(tmp_path / "cache")
    for _ in range(2):
        assert LmdbSet(path, FILTER, log=RunLog()).numbers.tolist() == [1, 5, 7, 8]
    assert len(scans) == 2
    assert capsys.readouterr().out.count("reads all labels again") == 2


def test_a_long_pass_is_shown(path, monkeypatch, capsys):
    monkeypatch.setattr(record_index, "WORTH_A_LINE", 8)
    LmdbSet(path, FILTER, log=RunLog())
    assert "index set 8/8 records" in (shown := capsys.readouterr().out)
    assert "index of 8 records made" in shown
    LmdbSet(path, FILTER, log=RunLog())
    assert not capsys.readouterr().out


def test_spawned_workers_map_the_file_and_get_no_copy(tmp_path, make_lmdb):
    path = make_lmdb(tmp_path / "many", [(None, "a")] * 3000)
    for usage_ratio in (1.0, 0.5):
        opened = LmdbSet(path, FILTER, usage_ratio)
        pickled = pickle.dumps(opened)
        assert len(pickled) < 2000
        again = pickle.loads(pickled)
        assert isinstance(again.numbers, np.memmap)
        assert again.numbers.tolist() == opened.numbers.tolist()


def test_an_interrupted_pass_leaves_no_index(path, monkeypatch):
    monkeypatch.setattr(LabelFilter, "accepts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        LmdbSet(path, FILTER)
    assert not (path / record_index.FOLDER).exists()


def test_other_keys_are_no_records(path, make_lmdb, tmp_path):
    odd = {"label_0000000001": b"ten digits", "label_x": b"none", "boxes_1": b"[]"}
    opened = LmdbSet(make_lmdb(tmp_path / "odd", [(b"", "a"), (b"", "b")], **odd), FILTER)
    assert opened.numbers.tolist() == [1, 2]


def test_the_description_is_plain(path):
    LmdbSet(path, FILTER)
    (file,) = (path / record_index.FOLDER).glob("*.json")
    described = json.loads(file.read_text(encoding="utf-8"))
    assert described["identity"]["filter"]["max_length"] == 25
    assert described["report"]["kept"] == 4


def test_a_user_without_a_home_has_a_cache(monkeypatch, tmp_path):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("XDG_CACHE_HOME", record_index.CACHE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pathlib.Path.home", no_home)
    found = record_index.cache_folder(tmp_path)
    assert found.is_relative_to(tempfile.gettempdir())
