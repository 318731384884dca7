"""Which of an LMDB's records are taken: by shares, by number, or by a list."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from records.label_filter import FilterReport
from records.lmdb_file import DIGITS, DataError


def share_out(numbers: np.ndarray, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """Numbers in random parts of given shares: each number in exactly one, each part in order.

    Sizes are rounded so that they sum up, the largest remainders upwards.

    Args:
        numbers: of records, ascending.
        shares: of the parts, above 0, summing to 1.
        seed: of the draw.

    """
    exact = [share * len(numbers) for share in shares]
    sizes = [math.floor(size) for size in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda k: sizes[k] - exact[k])
    for k in by_remainder[: len(numbers) - sum(sizes)]:
        sizes[k] += 1
    drawn = np.random.default_rng(seed).permutation(numbers)
    return [np.sort(part) for part in np.split(drawn, np.cumsum(sizes)[:-1])]


def draw(numbers: np.ndarray, count: int, seed: int) -> np.ndarray:
    """So many of the numbers, drawn at random, in order."""
    return np.sort(np.random.default_rng(seed).permutation(numbers)[:count])


def read_list(file: Path, numbers: np.ndarray, report: FilterReport) -> np.ndarray:
    """The numbers that a file lists, one a line, in order; blank lines are passed over.

    Args:
        file: the list.
        numbers: of records that can be taken, ascending.
        report: counts lines that name none of them, or one again.

    Raises:
        DataError: no such file.

    """
    if not file.is_file():
        raise DataError(f"There is no list {file}; it has the number of a record in each line.")
    taken = set()
    with file.open("rb") as lines:
        for place, line in enumerate(lines, start=1):
            text = line.removeprefix(b"\xef\xbb\xbf" if place == 1 else b"").strip()
            if not text:
                continue
            where = f"line {place}: {text[:20].decode('utf-8', 'replace')!r}"
            if not text.isdigit() or len(text) > DIGITS:
                report.drop("line is no number of a record", where)
            elif not _is_among(int(text), numbers):
                report.drop("line names no usable record", where)
            elif int(text) in taken:
                report.drop("line names a record again", where)
            else:
                taken.add(int(text))
    return np.array(sorted(taken), dtype=numbers.dtype)


def _is_among(number: int, numbers: np.ndarray) -> bool:
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and int(numbers[place]) == number
