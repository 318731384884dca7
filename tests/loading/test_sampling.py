import numpy as np
import pytest

from loading.sampling import KeyedPermutation, MixingSampler
from loading.sources import batch_counts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 1000, 4097])
def test_every_entry_once(size):
    assert sorted(KeyedPermutation(size, (1, 2))(np.arange(size))) == list(range(size))


def test_keys_give_other_orders():
    positions = np.arange(1000)
    one, other = (KeyedPermutation(1000, (226, 0, epoch))(positions) for epoch in (0, 1))
    assert (one != other).mean() > 0.9
    assert (one != positions).mean() > 0.9


def test_order_looks_random():
    order = KeyedPermutation(10_000, (5,))(np.arange(10_000))
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.05


def test_a_part_can_be_asked_for():
    permutation = KeyedPermutation(1000, (3,))
    whole = permutation(np.arange(1000))
    assert (permutation(np.array([7, 900])) == whole[[7, 900]]).all()


def test_each_epoch_of_a_source_has_every_record_once():
    sampler = MixingSampler([10, 30], [4, 6], seed=1)
    keys = [key for batch in range(5) for key in sampler.keys(batch)]
    for epoch in (0, 1):
        first = [i for source, i, e in keys if (source, e) == (0, epoch)]
        assert sorted(first) == list(range(10))
    assert sorted(i for source, i, _ in keys if source == 1) == list(range(30))


def test_every_batch_has_the_ratio():
    sampler = MixingSampler([10, 30], [4, 6], seed=1)
    for batch in range(20):
        sources = [source for source, _, _ in sampler.keys(batch)]
        assert sources == [0] * 4 + [1] * 6


def test_two_ranks_see_what_one_sees():
    one = MixingSampler([10, 30], [4, 6], seed=1)
    halves = [MixingSampler([10, 30], [2, 3], seed=1, rank=r, world_size=2) for r in (0, 1)]
    for batch in range(12):
        together = [key for half in halves for key in half.keys(batch)]
        assert sorted(together) == sorted(one.keys(batch))


def test_a_later_start_goes_on_where_it_was():
    sampler = iter(MixingSampler([10, 30], [4, 6], seed=1))
    later = iter(MixingSampler([10, 30], [4, 6], seed=1, consumed=[12, 18]))
    batches = [next(sampler) for _ in range(5)]
    assert [next(later), next(later)] == batches[3:]


@pytest.mark.parametrize(
    ("size", "ratios", "counts"),
    [(100, [0.5, 0.5], [50, 50]), (2, [0.9, 0.1], [2, 1]), (192, [1.0], [192])],
)
def test_shares_are_rounded_and_never_nothing(size, ratios, counts):
    assert batch_counts(size, ratios) == counts
