"""micro_batches(): what this process computes of one update after another, collated and on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .place import send


@dataclass(frozen=True)
class MicroBatch:
    """Examples of one update that are computed at once."""

    step: int  # the update that it is a part of
    examples: int  # 0 where a process only computes along with the others
    tokens: int  # real ones, of all inputs
    tensors: dict[str, Tensor]
    last: bool  # of this process's part of the update


def micro_batches(run) -> Iterator[MicroBatch]:
    """The micro-batches of update after update, from `run.step` on, `run.micro_batch_size` examples each.

    Sharded processes gather every block together, so all of them compute equally often: one that has no
    example left computes with another one and adds nothing.
    """
    for step in range(run.step, run.total):
        examples = run.examples(step)
        size = run.micro_batch_size
        most = math.ceil(run.divisor(step) / run.processes.num_processes) if run.sharded else len(examples)
        rounds = max(1, math.ceil(most / size))
        for number in range(rounds):
            part = examples[number * size : (number + 1) * size]
            tensors = run.task.collate(part or [run.task.train[0]], "cpu")
            masks = (mask for name, mask in tensors.items() if name.endswith("attention_mask"))
            tokens = sum(int(mask.sum()) for mask in masks) if part else 0
            on_device = send(tensors, run.processes.device)
            yield MicroBatch(step, len(part), tokens, on_device, last=number == rounds - 1)
