"""The LMDB writer: whole or not at all."""

import json

import lmdb
import pytest

from tools.lmdb_writer import LmdbWriter


def read(path):
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def test_records_are_in_the_format_of_the_field(tmp_path):
    with LmdbWriter(tmp_path / "set") as writer:
        writer.write(b"jpeg 1", "héllo")
        writer.write(b"jpeg 2", "b", [("b", 0.5, 1, 2, 3)])
        writer.set_note({"where": "here"})
    records = read(tmp_path / "set")
    assert json.loads(records.pop(b"boxes-000000002")) == [["b", 0.5, 1, 2, 3]]
    assert json.loads(records.pop(b"note")) == {"where": "here"}
    assert records == {
        b"num-samples": b"2",
        b"image-000000001": b"jpeg 1",
        b"label-000000001": "héllo".encode(),
        b"image-000000002": b"jpeg 2",
        b"label-000000002": b"b",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_map_grows(tmp_path):
    images = [bytes([k % 256]) * 3000 for k in range(2500)]
    with LmdbWriter(tmp_path / "set", map_size=64 * 1024) as writer:
        for image in images:
            writer.write(image, "x")
    records = read(tmp_path / "set")
    assert records[b"num-samples"] == b"2500"
    assert [records[b"image-%09d" % (k + 1)] for k in range(2500)] == images


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), LmdbWriter(tmp_path / "set") as writer:
        writer.write(b"image", "label")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_no_hindrance(tmp_path):
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / "data.mdb").write_bytes(b"half")
    (tmp_path / "set").mkdir()
    with LmdbWriter(tmp_path / "set") as writer:
        writer.write(b"image", "label")
    assert read(tmp_path / "set")[b"num-samples"] == b"1"


def test_nothing_is_overwritten(tmp_path):
    with LmdbWriter(tmp_path / "set") as writer:
        writer.write(b"image", "label")
    with pytest.raises(FileExistsError, match="remove it"), LmdbWriter(tmp_path / "set"):
        pass
