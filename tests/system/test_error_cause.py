"""The line that errors of libraries come to."""

import pytest

from system.error_cause import cause_of


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("no memory\nat a"), "no memory"),
        (RuntimeError("\n\n  CUDA error\nat a"), "CUDA error"),
        (EOFError(), "EOFError"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)
def test_the_first_line_with_words_or_the_kind_of_error(error, line):
    assert cause_of(error) == line
