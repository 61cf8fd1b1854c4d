"""Learning-rate schedules: (step, total, warmup) -> multiplier in [0, 1]. Pure functions, nothing to save."""

from __future__ import annotations

import math

RATIO = 32  # of the largest rate to the smallest, as Howard and Ruder have it


def ramp(step: int, total: int, warmup: float) -> float:
    """1 after the warm-up; before, a straight line that starts above 0, so that no update is wasted."""
    length = max(1, round(warmup * total))
    return min(1.0, (step + 1) / length)


def constant(step: int, total: int, warmup: float) -> float:
    """Up during the warm-up, then 1."""
    return ramp(step, total, warmup)


def linear(step: int, total: int, warmup: float) -> float:
    """Up during the warm-up, then a straight line that would reach 0 one update after the last."""
    length = max(1, round(warmup * total))
    return min(ramp(step, total, warmup), (total - step) / max(1, total - length + 1))


def cosine(step: int, total: int, warmup: float) -> float:
    """Up during the warm-up, then half a cosine down."""
    length = max(1, round(warmup * total))
    if step < length:
        return ramp(step, total, warmup)
    return 0.5 * (1 + math.cos(math.pi * (step - length + 1) / max(1, total - length + 1)))


def slanted_triangular(step: int, total: int, warmup: float) -> float:
    """Up to 1 during the warm-up, then a long straight line down; both end at 1/32 (arXiv:1801.06146)."""
    cut = min(total - 1, math.floor(warmup * total))  # the update of the largest rate
    share = step / cut if step < cut else 1 - (step - cut) / (total - cut)
    return (1 + share * (RATIO - 1)) / RATIO


SCHEDULES = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "slanted_triangular": slanted_triangular,
}


def multiplier(name: str, step: int, total: int, warmup: float) -> float:
    """The multiplier of schedule `name` at update `step` of `total`."""
    if name not in SCHEDULES:
        raise ValueError(f"expected a schedule out of {', '.join(SCHEDULES)}, found {name!r}")
    return SCHEDULES[name](step, total, warmup)
