"""What a task is, and the one batched evaluation that every task's predictions and scores are made by."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor, nn

from ..order import lengths

UNKNOWN = -100  # a label that no loss counts
Batch = dict[str, Tensor]


class Task(Protocol):
    """Examples in three splits, how they make a batch, what the loss counts, what the model answers.

    An example has a `len()`, its number of tokens. `collate` is a function of the examples alone: it runs in
    a thread, one batch ahead.
    """

    auto_class: type  # what transformers loads for it, or a head of ftkit.heads
    divisible: bool  # False: the loss compares the examples of a batch, so micro-batches are refused
    train: Sequence
    validation: Sequence
    test: Sequence

    def collate(self, examples: Sequence, device) -> Batch:
        """Tensors on the device; those whose name ends in attention_mask count real tokens."""

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum over the batch's terms in nats, number of terms), both without dimensions."""

    def predict(self, model: nn.Module, examples: Sequence) -> list:
        """One record of the task's own kind per example, in the order given."""

    def score(self, model: nn.Module, examples: Sequence) -> dict[str, float]:
        """ "loss", the mean over the terms in nats, and the task's own metrics."""

    def grades(self, model: nn.Module, examples: Sequence) -> list[float]:
        """How good each answer is, from 0 to 1; strategies are compared by them, example by example."""


_together: ContextVar = ContextVar("the processes that evaluate together", default=None)


@contextmanager
def together(processes):
    """Inside, `batched` shares its work between the processes; all of them must call it alike."""
    token = _together.set(processes if processes.num_processes > 1 else None)
    try:
        yield
    finally:
        _together.reset(token)


@torch.no_grad()
def batched(
    task: Task, model: nn.Module, examples: Sequence, compute: Callable[[Batch], Any], *, batch_size: int = 64
) -> list[tuple[list[int], Any]]:
    """[(places of a batch's examples, compute(batch))] over batches of similar length, in evaluation mode.

    `compute` gives plain data or tensors on the CPU: what other processes computed is sent here. The
    precision is that of the autocast context it is called in.
    """
    model.eval()
    device = next(model.parameters()).device
    order = lengths(examples).argsort(kind="stable").tolist()
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    processes = _together.get()
    rank, count = (processes.process_index, processes.num_processes) if processes else (0, 1)
    results = []
    for first in range(0, len(parts), count):
        number = min(first + rank, len(parts) - 1)  # sharded models need every process in every forward pass
        result = compute(task.collate([examples[i] for i in parts[number]], device))
        if number == first + rank:
            results.append((number, result))
    if processes:
        from accelerate.utils import gather_object

        results = sorted(gather_object(results), key=lambda pair: pair[0])
    return [(parts[number], result) for number, result in results]


def in_order(results: Iterable[tuple[list[int], Sequence]], *, count: int) -> list:
    """What `batched` computed for each example, one entry per example, in the order of the examples."""
    entries = [None] * count
    for places, values in results:
        for place, value in zip(places, values, strict=True):
            entries[place] = value
    return entries


def mean_loss(task: Task, model: nn.Module, examples: Sequence, *, batch_size: int = 64) -> float:
    """The loss per term in nats. Raises ValueError for examples without any term."""

    def compute(batch: Batch) -> tuple[float, int]:
        loss, terms = task.loss(model, batch)
        return loss.item(), int(terms)

    sums = [sums for _, sums in batched(task, model, examples, compute, batch_size=batch_size)]
    terms = sum(terms for _, terms in sums)
    refuse_none(terms)
    return sum(loss for loss, _ in sums) / terms


def refuse_none(count: int) -> None:
    """Raise ValueError where there is nothing to score."""
    if not count:
        raise ValueError("expected labelled examples to score, got none; give the split some")


def pad(rows: Sequence[numpy.ndarray], filling: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(rows, mask), (batch, longest) each, padded on the right."""
    shape = len(rows), max(map(len, rows))
    ids, mask = numpy.full(shape, filling, dtype=numpy.int64), numpy.zeros(shape, dtype=numpy.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask


def tensors(arrays: dict[str, numpy.ndarray], device) -> Batch:
    """The arrays as tensors on the device."""
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def encode(tokenizer, texts: Sequence[str], *, max_tokens: int) -> tuple[list[numpy.ndarray], numpy.ndarray]:
    """(tokens of every text, at most `max_tokens`; (texts,) whether each was longer)."""
    tokens = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    longer = numpy.array([len(ids) > max_tokens for ids in tokens], dtype=bool)
    if longer.any():
        places = numpy.flatnonzero(longer)
        shortened = tokenizer([texts[i] for i in places], truncation=True, max_length=max_tokens)["input_ids"]
        for i, ids in zip(places, shortened, strict=True):
            tokens[i] = ids
    return [numpy.array(ids, dtype=numpy.int64) for ids in tokens], longer


def split_names(splits: dict) -> Iterator[str]:
    """train, validation, test. Raises ValueError for other names, and without training examples."""
    names = ("train", "validation", "test")
    if set(splits) - set(names) or not splits.get("train"):
        raise ValueError(
            f"expected examples under {', '.join(map(repr, names))}, with some to train on, got "
            f"{', '.join(f'{name!r}: {len(part)}' for name, part in splits.items()) or 'none'}"
        )
    yield from names


def warn_shortened(count: int, *, of: int, max_tokens: int) -> None:
    """Warn where texts that are to be answered were longer than the model was trained to read."""
    if count:
        warnings.warn(
            f"{count} of {of} texts are longer than {max_tokens} tokens; what follows was not read",
            stacklevel=4,
        )
