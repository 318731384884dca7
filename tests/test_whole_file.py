"""Files are written whole or not at all."""

import resource

import pytest

from whole_file import append_whole


@pytest.fixture
def small_files():
    """Files of this process may have 100 bytes; what fits is written before the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_text_is_added_whole_or_not_at_all(tmp_path, small_files):
    path = tmp_path / "lines"
    append_whole(path, "é" * 30 + "\n")
    with pytest.raises(OSError, match="File too large"):
        append_whole(path, "x" * 60 + "\n")
    assert path.read_text(encoding="utf-8") == "é" * 30 + "\n"
    append_whole(path, "next\n")
    assert path.read_text(encoding="utf-8").splitlines() == ["é" * 30, "next"]
