"""Shuffling without memory: a permutation that is computed, not stored."""

from collections.abc import Sequence

import numpy as np

_ROUNDS = 6


class KeyedPermutation:
    """A permutation of 0 … size-1 chosen by a key; any entry is found in O(1).

    A Feistel network on the smallest even number of bits that holds `size`; results beyond
    `size` are sent through again, which keeps it a permutation (cycle walking).
    """

    def __init__(self, size: int, key: Sequence[int]):
        if size < 1:
            raise ValueError(f"A permutation needs at least one entry, not {size}.")
        self.size = size
        self._half_bits = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half_bits)) - 1)
        self._keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Entries at positions, int64, each in 0 … size-1."""
        values = np.asarray(positions).astype(np.uint64)
        pending = np.ones(len(values), dtype=bool)
        while pending.any():
            values[pending] = self._feistel(values[pending])
            pending = values >= self.size
        return values.astype(np.int64)

    def _feistel(self, values: np.ndarray) -> np.ndarray:
        left, right = values >> self._half_bits, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half_bits) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
