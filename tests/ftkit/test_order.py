"""The order of an epoch is a pure function, shows each example once, and wastes little on padding."""

import numpy
import pytest

from ftkit.order import epoch_batches

LENGTHS = numpy.random.default_rng(3).integers(3, 120, size=1000).tolist()


def padded(batches, lengths=LENGTHS):
    """Tokens computed for nothing."""
    return sum(len(b) * max(lengths[i] for i in b) - sum(lengths[i] for i in b) for b in batches)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 64, 399, 400, 401, 1000])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 1001])
def test_an_epoch_shows_each_example_once(n, batch_size):
    for epoch in range(3):
        batches = epoch_batches(LENGTHS[:n], batch_size=batch_size, seed=5, epoch=epoch)
        assert sorted(i for batch in batches for i in batch) == list(range(n))


@pytest.mark.parametrize(("n", "batch_size"), [(1, 8), (37, 8), (401, 8), (1000, 32), (1000, 7)])
def test_all_batches_but_one_are_full(n, batch_size):
    batches = epoch_batches(LENGTHS[:n], batch_size=batch_size, seed=0, epoch=0)
    assert len(batches) == -(-n // batch_size)
    assert sum(len(batch) < batch_size for batch in batches) == (n % batch_size > 0)


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    first = epoch_batches(LENGTHS, batch_size=8, seed=1, epoch=2)
    numpy.random.seed(99)
    epoch_batches(LENGTHS, batch_size=8, seed=1, epoch=3)
    assert epoch_batches(LENGTHS, batch_size=8, seed=1, epoch=2) == first
    assert epoch_batches(tuple(LENGTHS), batch_size=8, seed=1, epoch=2) == first


def test_epochs_and_seeds_differ():
    orders = [
        tuple(map(tuple, epoch_batches(LENGTHS, batch_size=8, seed=seed, epoch=epoch)))
        for seed in range(4)
        for epoch in range(4)
    ]
    assert len(set(orders)) == 16
    members = [{frozenset(batch) for batch in order} for order in orders]
    assert len(members[0] & members[1]) < 5  # other batches, not only other places of the same ones


def test_batches_of_like_length_compute_less_padding():
    random_order = numpy.random.default_rng(0).permutation(1000)
    at_random = padded([random_order[i : i + 8].tolist() for i in range(0, 1000, 8)])
    grouped = padded(epoch_batches(LENGTHS, batch_size=8, seed=0, epoch=0))
    assert grouped < 0.1 * at_random


def test_lengths_do_not_rise_or_fall_over_an_epoch():
    sizes = [
        max(LENGTHS[i] for i in batch) for batch in epoch_batches(LENGTHS, batch_size=8, seed=0, epoch=0)
    ]
    assert abs(numpy.corrcoef(sizes, range(len(sizes)))[0, 1]) < 0.3
