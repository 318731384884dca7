"""Files are written whole or not at all."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from whole_file import append_whole, whole_file


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
