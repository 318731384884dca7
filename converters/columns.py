"""What belongs to each of very many images, in few bytes."""

import numpy as np

from converters.matlab import texts_in


class QuadColumn:
    """Some quads for each image.

    Args:
        cells: object array [N], of arrays [2, 4, K] or, where K is 1, [2, 4]: x and y of four
            corners. Emptied on the way, so that memory never has both whole. What has another
            shape counts as no quads.

    >>> QuadColumn(cells)[0]  # float32 [K, 4, 2]

    """

    def __init__(self, cells: np.ndarray):
        counts = np.fromiter(map(_count_quads, cells), np.int64, len(cells))
        self._ends = np.concatenate([[0], np.cumsum(counts)])
        self._quads = np.empty((self._ends[-1], 4, 2), np.float32)
        for number, count in enumerate(counts):
            cell, cells[number] = cells[number], None
            if count:
                with np.errstate(over="ignore"):  # infinity is found later
                    self._quads[self._ends[number] :][:count] = cell.reshape(2, 4, count).T

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        return self._quads[self._ends[number] : self._ends[number + 1]]


class TextColumn:
    """The text of each image: its cell's strings, a line each.

    Args:
        cells: object array [N] of character arrays; emptied on the way.

    """

    def __init__(self, cells: np.ndarray):
        stored = bytearray()
        self._ends = np.zeros(len(cells) + 1, np.int64)
        for number in range(len(cells)):
            cell, cells[number] = cells[number], None
            stored += "\n".join(texts_in(cell)).encode("utf-8", "surrogatepass")
            self._ends[number + 1] = len(stored)
        self._stored = bytes(stored)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        stored = self._stored[self._ends[number] : self._ends[number + 1]]
        return stored.decode("utf-8", "surrogatepass")


def _count_quads(cell: object) -> int:
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "fiu":
        return 0
    if cell.ndim not in (2, 3) or cell.shape[:2] != (2, 4):
        return 0
    return cell.size // 8
