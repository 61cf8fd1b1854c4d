"""The order of an epoch: which examples make up which update. Pure, so that nothing need be saved."""

from __future__ import annotations

import math
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


class Order:
    """The order of a whole run: keeps the epoch that is computed and the one after it, which begins early."""

    def __init__(self, examples: Sequence, *, batch_size: int, seed: int):
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.epochs: dict[int, list[numpy.ndarray]] = {}

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch."""
        return math.ceil(len(self.examples) / self.batch_size)

    def update(self, step: int) -> numpy.ndarray:
        """Numbers of the examples of the run's update `step`."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch not in self.epochs:
            sizes = lengths(self.examples)
            arrays = epoch_arrays(sizes, batch_size=self.batch_size, seed=self.seed, epoch=epoch)
            self.epochs = {e: kept for e, kept in self.epochs.items() if e == epoch - 1} | {epoch: arrays}
        return self.epochs[epoch][position]


def lengths(examples: Sequence) -> numpy.ndarray:
    """(examples,) tokens of each; a sequence that knows them is asked, any other is counted."""
    known = getattr(examples, "lengths", None)
    return known if known is not None else numpy.fromiter(map(len, examples), numpy.int64, len(examples))
