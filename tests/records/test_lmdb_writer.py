"""The LMDB writer: whole or not at all."""

import json

import lmdb
import pytest

from lmdb_tools.whole_folder import whole_folder
from records.lmdb_file import DataError, open_environment
from records.lmdb_writer import LmdbWriter


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


JOB = {"source": "here", "parts": [1, 2]}


def interrupted(path, job=JOB):
    """A writer that stops after two records, and one more since its checkpoint."""
    with pytest.raises(KeyboardInterrupt), LmdbWriter(path, job=job) as writer:
        writer.write(b"image 1", "a", [("a", 1, 2, 3, 4)])
        writer.write(b"image 2", "b")
        writer.checkpoint({"done": 2})
        writer.write(b"image 3", "lost", [("l", 1, 2, 3, 4)])
        raise KeyboardInterrupt


def test_a_job_goes_on_from_its_last_checkpoint(tmp_path):
    interrupted(tmp_path / "set")
    with LmdbWriter(tmp_path / "set", job=JOB) as writer:
        assert (writer.count, writer.progress) == (2, {"done": 2})
        writer.write(b"image 3", "c")
    assert read(tmp_path / "set") == {
        b"num-samples": b"3",
        b"image-000000001": b"image 1",
        b"label-000000001": b"a",
        b"boxes-000000001": b'[["a", 1, 2, 3, 4]]',
        b"image-000000002": b"image 2",
        b"label-000000002": b"b",
        b"image-000000003": b"image 3",
        b"label-000000003": b"c",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_beginning_of_another_job_is_not_mixed_in(tmp_path):
    interrupted(tmp_path / "set")
    with (
        pytest.raises(FileExistsError, match="another job"),
        LmdbWriter(tmp_path / "set", job={"source": "there"}),
    ):
        pass
    with LmdbWriter(tmp_path / "set", job=JOB) as writer:
        assert writer.count == 2


def test_a_job_without_a_checkpoint_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), LmdbWriter(tmp_path / "set", job=JOB):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("job", [None, JOB])
def test_two_writers_of_one_place_do_not_meet(tmp_path, job):
    with LmdbWriter(tmp_path / "set", job=job) as first:
        with (
            pytest.raises(FileExistsError, match="Another process is writing"),
            LmdbWriter(tmp_path / "set", job=job),
        ):
            pass
        first.write(b"image", "label")
    assert read(tmp_path / "set")[b"num-samples"] == b"1"
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["data.mdb"]


def test_a_writer_without_a_job_does_not_remove_the_beginning_of_one(tmp_path):
    interrupted(tmp_path / "set")
    with pytest.raises(FileExistsError, match="another job"), LmdbWriter(tmp_path / "set"):
        pass
    with pytest.raises(FileExistsError, match="a conversion"), whole_folder(tmp_path / "set"):
        pass
    with LmdbWriter(tmp_path / "set", job=JOB) as writer:
        assert writer.count == 2


def test_an_unfinished_lmdb_says_so(tmp_path):
    interrupted(tmp_path / "set")
    with pytest.raises(DataError, match="is not finished: the command that makes it"):
        open_environment(tmp_path / "set.partial")


def test_a_folder_that_is_being_written_is_left_alone(tmp_path):
    with whole_folder(tmp_path / "out") as mine:
        (mine / "file").write_bytes(b"mine")
        with (
            pytest.raises(FileExistsError, match="Another command is writing"),
            whole_folder(tmp_path / "out"),
        ):
            pass
    assert (tmp_path / "out/file").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_somebody_s_own_folder_is_left_alone(tmp_path):
    mine = tmp_path / "out.partial/1.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with (
        pytest.raises(FileExistsError, match=r"out\.partial is there, and holds 1\.jpg"),
        LmdbWriter(tmp_path / "out"),
    ):
        pass
    with (
        pytest.raises(FileExistsError, match=r"out\.partial is there, and is nothing of an"),
        whole_folder(tmp_path / "out"),
    ):
        pass
    assert mine.read_bytes() == b"mine"


def test_large_images_make_a_checkpoint_early(tmp_path, monkeypatch):
    monkeypatch.setattr("records.lmdb_writer.COMMIT_BYTES", 10_000)
    with LmdbWriter(tmp_path / "out", job={"of": "test"}) as writer:
        writer.write(bytes(9_000), "one")
        assert not writer.wants_checkpoint
        writer.write(bytes(9_000), "two")
        assert writer.wants_checkpoint
        writer.checkpoint({})
        assert not writer.wants_checkpoint


def test_a_whole_lmdb_is_never_wiped(tmp_path):
    """As a run leaves it that was killed between its last commit and the new name."""
    with LmdbWriter(tmp_path / "other") as writer:
        writer.write(b"image", "word")
    (tmp_path / "other").rename(tmp_path / "out.partial")
    with (
        pytest.raises(FileExistsError, match=r"is a whole LMDB.* rename it to out"),
        LmdbWriter(tmp_path / "out", job={"of": "test"}),
    ):
        pass
    assert read(tmp_path / "out.partial")[b"label-000000001"] == b"word"
