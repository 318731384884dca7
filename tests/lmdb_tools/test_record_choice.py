"""Shares and lists of records."""

import numpy as np
import pytest

from lmdb_tools.record_choice import draw, read_list, share_out
from records.label_filter import FilterReport


@pytest.mark.parametrize("count", [1, 2, 7, 10, 99, 1000])
@pytest.mark.parametrize("shares", [[1.0], [0.9, 0.1], [0.5, 0.25, 0.25], [1 / 3] * 3, [0.1] * 10])
@pytest.mark.parametrize("seed", [0, 226])
def test_parts_are_exact_disjoint_and_cover(count, shares, seed):
    numbers = np.arange(5, 5 + 3 * count, 3, dtype=np.uint32)
    parts = share_out(numbers, shares, seed)
    assert len(parts) == len(shares)
    assert sorted(np.concatenate(parts).tolist()) == numbers.tolist()
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - share * count) < 1
        assert part.tolist() == sorted(part.tolist())


def test_the_seed_decides_which():
    numbers = np.arange(1, 101)
    first, again, other = (share_out(numbers, [0.5, 0.5], seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != list(range(1, 51))


@pytest.mark.parametrize("count", [1, 5, 100])
def test_a_draw_is_in_order_and_without_repeats(count):
    numbers = np.arange(10, 110)
    drawn = draw(numbers, count, 226).tolist()
    assert len(set(drawn)) == count
    assert drawn == sorted(drawn)
    assert set(drawn) <= set(numbers.tolist())


def test_bad_lines_of_a_list_are_counted(tmp_path):
    file = tmp_path / "list.txt"
    lines = "\ufeff7\r\n\n3\nword\n 5 \n-1\n8\n3\n99999999999\n1.5\n"
    file.write_bytes(lines.encode() + b"\xff\n000000001")
    report = FilterReport()
    taken = read_list(file, np.array([1, 3, 5, 7, 9], dtype=np.uint32), report)
    assert taken.tolist() == [1, 3, 5, 7]
    assert report.dropped == {
        "line is no number of a record": 5,
        "line names no usable record": 1,
        "line names a record again": 1,
    }
    assert report.examples["line names a record again"] == ["line 8: '3'"]
