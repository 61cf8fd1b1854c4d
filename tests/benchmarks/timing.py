"""What is timed: a turn, by a clock that waits for the device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Turn:
    """What a system did in its turn."""

    seconds: float
    tokens: tuple[int, ...]  # real tokens of each update


def clock() -> float:
    """Seconds; a GPU has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
