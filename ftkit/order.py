"""The order of an epoch: which examples make up which update. Pure, so that nothing need be saved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy


def epoch_batches(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int, window: int = 50
) -> list[list[int]]:
    """Numbers of the examples of every update of an epoch; each example once.

    The examples are shuffled, cut into windows of `window` batches, sorted by length inside a window, cut
    into batches, and the batches shuffled: neighbours in length share a batch, so little padding is computed.
    """
    arrays = epoch_arrays(lengths, batch_size=batch_size, seed=seed, epoch=epoch, window=window)
    return [batch.tolist() for batch in arrays]


def epoch_arrays(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int, window: int = 50
) -> list[numpy.ndarray]:
    """The same as parts of one array, a fifth of the memory: what the loop keeps of a long epoch."""
    lengths = numpy.asarray(lengths)
    rng = numpy.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), window * batch_size):
        part = order[start : start + window * batch_size]
        part[:] = part[numpy.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
