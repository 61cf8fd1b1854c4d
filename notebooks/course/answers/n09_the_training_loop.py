"""The exercises of notebook 09: weights of micro-batches, clipping, a schedule, when to stop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..records import Exercise, wrong


def shares(terms: Sequence[int]) -> list[float]:
    whole = sum(terms)
    return [count / whole for count in terms]


def clip_together(gradients: Sequence[Tensor], largest: float) -> list[Tensor]:
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()  # of all of them as one vector
    factor = (largest / norm).clamp(max=1.0)
    return [g * factor for g in gradients]


def rate(step: int, total: int, warmup: int) -> float:
    up = (step + 1) / warmup  # reaches 1 at step warmup - 1
    down = (total - step) / (total - warmup + 1)  # is 1 there, and would be 0 at step total
    return min(1.0, up, down)


def stop_at(losses: Sequence[float], patience: int) -> int:
    best, since = float("inf"), 0
    for place, loss in enumerate(losses):
        best, since = (loss, 0) if loss < best else (best, since + 1)
        if since == patience:
            return place
    return len(losses) - 1


@wrong(
    "every micro-batch has the same share, so this is the mean of means: "
    "a term in a short micro-batch counts more than one in a long one"
)
def _mean_of_means(terms):
    return [1 / len(terms) for _ in terms]


@wrong("1 over all terms is the share of one term; a micro-batch's mean stands for as many as it has terms")
def _one_term(terms):
    return [1 / sum(terms) for _ in terms]


@wrong("you divided by the largest micro-batch's terms, not by those of all: shares add up to 1")
def _of_the_largest(terms):
    return [count / max(terms) for count in terms]


@wrong(
    "you clipped every tensor by its own norm, which turns the update; "
    "the norm is that of all tensors together"
)
def _each_alone(gradients, largest):
    return [g * (largest / g.norm()).clamp(max=1.0) for g in gradients]


@wrong("you cut every entry at the limit, which turns the update; multiply all by one factor")
def _entries(gradients, largest):
    return [g.clamp(-largest, largest) for g in gradients]


@wrong("a gradient shorter than the limit is made longer, a zero one nan: the factor is at most 1")
def _always(gradients, largest):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    return [g * (largest / norm) for g in gradients]


@wrong("you added the norms up; lengths add by their squares: √(sum of all squares)")
def _sum_of_norms(gradients, largest):
    norm = torch.stack([g.norm() for g in gradients]).sum()
    return [g * (largest / norm).clamp(max=1.0) for g in gradients]


@wrong("step 0 gets the rate 0, so the first update is wasted; steps count from 0")
def _from_zero(step, total, warmup):
    return step / warmup if step < warmup else (total - step) / (total - warmup)


@wrong("there is no warm-up: the first steps climb from 1 / warmup")
def _no_warmup(step, total, warmup):
    return (total - step) / total


@wrong("the line down begins at step 0, so the peak is never reached; it begins where the warm-up ends")
def _product(step, total, warmup):
    return min(1.0, (step + 1) / warmup) * (total - step) / total


@wrong("after the warm-up the rate must fall, towards 0 at step total")
def _no_decay(step, total, warmup):
    return min(1.0, (step + 1) / warmup)


@wrong(
    "you compared with the evaluation before; compare with the lowest so far, "
    "or a slow way down from a hill counts as progress"
)
def _than_the_one_before(losses, patience):
    since = 0
    for place in range(1, len(losses)):
        since = 0 if losses[place] < losses[place - 1] else since + 1
        if since == patience:
            return place
    return len(losses) - 1


@wrong("you stop one evaluation too late: stop when the count reaches patience")
def _one_too_late(losses, patience):
    return stop_at(losses, patience + 1)


@wrong("that is the place of the best loss; training stops patience evaluations later")
def _where_the_best_is(losses, patience):
    seen = losses[: stop_at(losses, patience) + 1]
    return list(seen).index(min(seen))


@wrong("an equal loss is no improvement: only a lower one sets the count to 0")
def _ties_are_better(losses, patience):
    best, since = float("inf"), 0
    for place, loss in enumerate(losses):
        best, since = (loss, 0) if loss <= best else (best, since + 1)
        if since == patience:
            return place
    return len(losses) - 1


def _gradients() -> list[tuple]:
    draw = torch.Generator().manual_seed(9)
    large = [torch.randn(shape, generator=draw) for shape in ((4, 6), (3, 4), (2,))]
    return [
        (large, 1.0),
        ([0.01 * g for g in large], 1.0),  # shorter than the limit: nothing is to change
        ([torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], 2.5),
        ([torch.zeros(3), torch.zeros(2, 2)], 1.0),
    ]


EXERCISES = (
    Exercise(
        number="09.1",
        reference=shares,
        cases=lambda: [([7, 7, 7, 7, 4],), ([16],), ([5, 5, 5, 1],), ([120, 3, 57],), ([0, 4],)],
        hints=(
            "How many of the update's terms does a micro-batch's mean stand for?",
            "A micro-batch's mean times its terms is its sum. The update divides all sums by one number.",
            "A share is the micro-batch's terms over the terms of all micro-batches; the shares add up to 1.",
        ),
        wrong=(
            _mean_of_means,
            _one_term,
            _of_the_largest,
        ),
    ),
    Exercise(
        number="09.2",
        reference=clip_together,
        cases=_gradients,
        hints=(
            "The list is one long vector that was cut into tensors. What is the length of that vector?",
            "Its squared length is the sum of all squares over all tensors: one number for the whole list.",
            "Multiply every tensor by the same factor, min(1, largest / norm). With torch numbers, "
            "1 / 0 is inf and the minimum takes care of it.",
        ),
        wrong=(
            _each_alone,
            _entries,
            _always,
            _sum_of_norms,
        ),
    ),
    Exercise(
        number="09.3",
        reference=rate,
        cases=lambda: [
            *((step, 60, 6) for step in (0, 1, 4, 5, 6, 30, 58, 59)),
            *((step, 20, 1) for step in (0, 1, 19)),
            *((step, 10, 10) for step in (0, 9)),
        ],
        hints=(
            "Draw it: two straight lines that meet at the warm-up's last step. Which one is lower where?",
            "Up: 1 / warmup at step 0, and 1 at step warmup - 1. Down: 1 at that step, and 0 at step total.",
            "min(1, (step + 1) / warmup, (total - step) / (total - warmup + 1))",
        ),
        wrong=(
            _from_zero,
            _no_warmup,
            _product,
            _no_decay,
        ),
    ),
    Exercise(
        number="09.4",
        reference=stop_at,
        cases=lambda: [
            ([0.69, 0.5, 0.55, 0.66, 0.8, 0.79], 2),
            ([0.9, 0.8, 0.7, 0.6], 1),
            ([0.5, 0.6, 0.4, 0.45, 0.41, 0.42], 3),
            ([0.6, 0.7, 0.5, 0.55, 0.6, 0.4], 2),
            ([0.5, 0.5, 0.5, 0.4], 2),
            ([0.7, 0.6, 0.65, 0.64, 0.63], 2),
        ],
        hints=(
            "Walk through the losses and keep two things: the lowest so far, and for how long it has stood.",
            "A loss below the lowest sets the count to 0; any other one adds 1. Equal is not below.",
            "Return the place at which the count reaches patience, and the last place if it never does.",
        ),
        wrong=(
            _than_the_one_before,
            _one_too_late,
            _where_the_best_is,
            _ties_are_better,
        ),
    ),
)
