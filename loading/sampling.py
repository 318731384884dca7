"""Which samples are in which batch: shuffled without memory, sources mixed exactly."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

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


class MixingSampler(Sampler):
    """Endless batches that hold the same number of each source.

    Batch b of rank r takes the positions consumed + (b * ranks + r) * count … of each source's own
    endless stream; an epoch of a source is a permutation of its records, another one each time.

    Args:
        sizes: records of each source; None for one without end, which is taken as it comes.
        counts: of each source in a batch.
        seed: of the permutations.
        rank, world_size: which process this is, and of how many.
        consumed: images of each source that all ranks together took before; None for none.

    """

    def __init__(
        self,
        sizes: Sequence[int | None],
        counts: Sequence[int],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        consumed: Sequence[int] | None = None,
    ):
        self.sizes, self.counts, self.seed = list(sizes), list(counts), seed
        self.rank, self.world_size = rank, world_size
        self.first_batch = 0  # where iteration starts; a loader that lost its workers sets it
        self.consumed = [0] * len(self.sizes) if consumed is None else list(consumed)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for batch in itertools.count(self.first_batch):
            yield self.keys(batch)

    def consumed_after(self, batches: int) -> list[int]:
        """Images of each source that all ranks took, after that many batches of each rank."""
        taken = batches * self.world_size
        return [c + taken * n for c, n in zip(self.consumed, self.counts, strict=True)]

    def keys(self, batch: int) -> list[tuple[int, int, int]]:
        """(source, index, epoch) of a batch's samples."""
        keys = []
        starts = zip(self.sizes, self.counts, self.consumed, strict=True)
        for source, (size, count, consumed) in enumerate(starts):
            first = consumed + (batch * self.world_size + self.rank) * count
            if size is None:
                keys += [(source, index, 0) for index in range(first, first + count)]
                continue
            positions = np.arange(first, first + count)
            for epoch in range(first // size, (first + count - 1) // size + 1):
                inside = positions[positions // size == epoch] % size
                permutation = KeyedPermutation(size, (self.seed, source, epoch))
                keys += [(source, int(i), epoch) for i in permutation(inside)]
        return keys
