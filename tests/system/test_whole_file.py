"""Files are written whole or not at all."""

import os
import resource
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.argument_types import file_to_write
from system.whole_file import append_whole, whole_file, write_text


@contextmanager
def small_files() -> Iterator[None]:
    """Files of this process may have 100 bytes; what fits is written before the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_text_is_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "lines"
    append_whole(path, "é" * 30 + "\n")
    with small_files(), pytest.raises(OSError, match="File too large"):
        append_whole(path, "x" * 60 + "\n")
    assert path.read_text(encoding="utf-8") == "é" * 30 + "\n"
    append_whole(path, "next\n")
    assert path.read_text(encoding="utf-8").splitlines() == ["é" * 30, "next"]


def test_names_that_are_not_utf8_are_written_as_escapes(tmp_path):
    name = os.fsdecode(b"\xff.jpg")
    append_whole(tmp_path / "log", f"{name}\n")
    write_text(tmp_path / "table", f"{name}\n")
    assert (tmp_path / "log").read_text() == (tmp_path / "table").read_text() == "\\udcff.jpg\n"


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append("synced") or sync(number))
    monkeypatch.setattr(
        Path, "replace", lambda own, other: done.append("renamed") or replace(own, other)
    )
    with whole_file(tmp_path / "file") as file:
        file.write(b"contents")
    assert done == ["synced", "renamed"]
    assert (tmp_path / "file").read_bytes() == b"contents"


def test_text_goes_into_new_folders_and_through_links_and_pipes(tmp_path):
    write_text(tmp_path / "new/folder/file", "é\n")
    assert (tmp_path / "new/folder/file").read_bytes() == "é\n".encode()
    (tmp_path / "link").symlink_to(tmp_path / "new/folder/file")
    write_text(tmp_path / "link", "through\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new/folder/file").read_text() == "through\n"
    (tmp_path / "new/folder/file").unlink()
    write_text(tmp_path / "link", "through again\n")
    assert (tmp_path / "new/folder/file").read_text() == "through again\n"
    reader, writer = os.pipe()
    write_text(f"/dev/fd/{writer}", "piped\n")
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "piped\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new"]


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "new/folder/file", "new"):
        assert file_to_write(str(tmp_path / name)) == str(tmp_path / name)
    assert file_to_write("/dev/stdout") == "/dev/stdout"
    with pytest.raises(ArgumentTypeError, match="is a folder"):
        file_to_write(str(tmp_path))
    with pytest.raises(ArgumentTypeError, match=r"nothing can be put into .*file"):
        file_to_write(str(tmp_path / "file" / "other"))
