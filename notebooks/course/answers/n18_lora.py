"""The exercises of notebook 18: the forward pass, merging, a verdict, the rank a movement needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..records import Exercise, wrong


def forward(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    scale = alpha / a.shape[0]  # a is (rank, in)
    return x @ weight.T + scale * (x @ a.T @ b.T)  # thin products first: B A itself is never built


def merged(weight: Tensor, a: Tensor, b: Tensor, alpha: float, transposed: bool) -> Tensor:
    update = (alpha / a.shape[0]) * b @ a  # (out, in)
    return weight + (update.T if transposed else update)


def verdict(low: float, high: float) -> str:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "tie"


def rank_needed(values: Sequence[float], share: float) -> int:
    squares = [value**2 for value in values]
    kept = 0.0
    for rank, square in enumerate(squares, start=1):
        kept += square
        if kept >= share * sum(squares):
            return rank
    return len(squares)


@wrong("you left the scale out: the thin path is multiplied by alpha / rank")
def _unscaled(x, weight, a, b, alpha):
    return x @ weight.T + x @ a.T @ b.T


@wrong("you multiplied by alpha and did not divide by the rank, which is a.shape[0]")
def _alpha_alone(x, weight, a, b, alpha):
    return x @ weight.T + alpha * (x @ a.T @ b.T)


@wrong("you divided by √rank: that is rsLoRA's factor; here it is alpha / rank")
def _root(x, weight, a, b, alpha):
    return x @ weight.T + alpha / a.shape[0] ** 0.5 * (x @ a.T @ b.T)


@wrong("you divided alpha by the width of the input; the rank is a.shape[0], not a.shape[1]")
def _divided_by_width(x, weight, a, b, alpha):
    return x @ weight.T + (alpha / a.shape[1]) * (x @ a.T @ b.T)


@wrong("you scaled the frozen path, too; alpha / rank belongs to the thin path alone")
def _scaled_both(x, weight, a, b, alpha):
    return (alpha / a.shape[0]) * (x @ weight.T + x @ a.T @ b.T)


@wrong("you left out the frozen path: x @ weight.T is part of the sum")
def _without_the_base(x, weight, a, b, alpha):
    return (alpha / a.shape[0]) * (x @ a.T @ b.T)


@wrong("you merged B A without alpha / rank: the merged model is another one")
def _merged_unscaled(weight, a, b, alpha, transposed):
    update = b @ a
    return weight + (update.T if transposed else update)


@wrong("you multiplied by alpha and did not divide by the rank, which is a.shape[0]")
def _merged_alpha_alone(weight, a, b, alpha, transposed):
    update = alpha * b @ a
    return weight + (update.T if transposed else update)


@wrong("you divided by √rank: that is rsLoRA's factor; here it is alpha / rank")
def _merged_root(weight, a, b, alpha, transposed):
    update = alpha / a.shape[0] ** 0.5 * b @ a
    return weight + (update.T if transposed else update)


@wrong(
    "you ignored `transposed`: a weight stored as (in, out) needs the update transposed, "
    "and a square one does not complain"
)
def _never_transposed(weight, a, b, alpha, transposed):
    return weight + (alpha / a.shape[0]) * b @ a


@wrong("you transposed the update always; (out, in) is the usual case and needs none")
def _always_transposed(weight, a, b, alpha, transposed):
    return weight + ((alpha / a.shape[0]) * b @ a).T


@wrong(
    "you changed the weight that was given (+= works in place); return a new one, so that the base survives"
)
def _in_place(weight, a, b, alpha, transposed):
    update = (alpha / a.shape[0]) * b @ a
    weight += update.T if transposed else update
    return weight


@wrong("you looked at the middle of the interval; a side is taken only where the whole interval is on it")
def _middle(low, high):
    middle = (low + high) / 2
    return "better" if middle > 0 else "worse" if middle < 0 else "tie"


@wrong("you swapped the sides: above 0 the cell has more right answers than the base")
def _swapped(low, high):
    return {"better": "worse", "worse": "better", "tie": "tie"}[verdict(low, high)]


@wrong("you looked at one end: where high is above 0 and low below it, 0 is inside, which is a tie")
def _upper_end(low, high):
    return "better" if high > 0 else "worse"


@wrong("an interval that ends at 0 contains 0, so it is a tie")
def _touching(low, high):
    return "better" if low >= 0 else "worse" if high <= 0 else "tie"


@wrong("you added up the singular values; the squared norm is the sum of their squares")
def _not_squared(values, share):
    kept = 0.0
    for rank, value in enumerate(values, start=1):
        kept += value
        if kept >= share * sum(values):
            return rank
    return len(values)


@wrong("you returned the place of the last value, counted from 0; the rank is how many there are")
def _place(values, share):
    return rank_needed(values, share) - 1


@wrong("a sum that reaches the share exactly is enough: >=, not >")
def _more_than(values, share):
    whole, kept = sum(value**2 for value in values), 0.0
    for rank, value in enumerate(values, start=1):
        kept += value**2
        if kept > share * whole:
            return rank
    return len(values)


@wrong("you compared each value with the largest; it is their sum that has to reach the share")
def _one_each(values, share):
    largest = max(values) ** 2
    return sum(value**2 >= (1 - share) * largest for value in values)


@wrong("you took that share of the count; the values are not equally large")
def _share_of_the_count(values, share):
    return round(share * len(values))


def _layers() -> list[tuple]:
    draw = torch.Generator().manual_seed(18)
    cases = []
    for shape, inputs, outputs, rank, alpha in (
        ((3,), 6, 4, 1, 1.0),  # the factor is 1: what fails here is not the factor
        ((2,), 5, 5, 1, 8.0),  # alpha alone
        ((1,), 5, 3, 4, 4.0),  # the rank alone
        ((2, 5), 3, 7, 3, 16.0),
    ):
        x = torch.randn(*shape, inputs, generator=draw)
        weight = torch.randn(outputs, inputs, generator=draw)
        a = torch.randn(rank, inputs, generator=draw)
        cases.append((x, weight, a, torch.randn(outputs, rank, generator=draw), alpha))
    return cases


def _weights() -> list[tuple]:
    draw = torch.Generator().manual_seed(81)
    cases = []
    for inputs, outputs, rank, alpha, transposed in (
        (6, 4, 1, 1.0, False),  # the factor is 1
        (6, 4, 1, 8.0, False),  # alpha alone
        (6, 4, 4, 4.0, False),  # the rank alone
        (5, 5, 1, 1.0, True),  # square: a forgotten transpose raises no error
        (3, 9, 2, 8.0, True),
        (5, 5, 3, 16.0, False),
    ):
        weight = torch.randn(outputs, inputs, generator=draw)
        a = torch.randn(rank, inputs, generator=draw)
        b = torch.randn(outputs, rank, generator=draw)
        cases.append((weight.T.contiguous() if transposed else weight, a, b, alpha, transposed))
    return cases


def _merge(answer: Callable, case: tuple) -> Any:
    weight = case[0].clone()
    result = answer(weight, *case[1:])
    if result is None or result is ...:
        return result
    return {"the merged weight": result, "the weight that was given": weight}


EXERCISES = (
    Exercise(
        number="18.1",
        reference=forward,
        cases=_layers,
        hints=(
            "Two paths leave x: the frozen matrix, and the thin pair. Their results are added.",
            "A linear layer stores its weight as (out, in), so its path is x @ weight.T; "
            "a and b are stored the same way.",
            "x @ a.T is (..., rank), and @ b.T makes it (..., out). "
            "The scale is alpha over the rank, and the rank is a.shape[0].",
        ),
        wrong=(
            _unscaled,
            _alpha_alone,
            _root,
            _divided_by_width,
            _scaled_both,
            _without_the_base,
        ),
    ),
    Exercise(
        number="18.2",
        reference=merged,
        cases=_weights,
        hints=(
            "B @ A has the shape of the matrix that a linear layer stores. What has to stand in front of it?",
            "The factor is alpha / a.shape[0]. A layer that stores (in, out) needs the transposed update.",
            "update = (alpha / a.shape[0]) * b @ a; return weight + (update.T if transposed else update)",
        ),
        wrong=(
            _merged_unscaled,
            _merged_alpha_alone,
            _merged_root,
            _never_transposed,
            _always_transposed,
            _in_place,
        ),
        use=_merge,
    ),
    Exercise(
        number="18.3",
        reference=verdict,
        cases=lambda: [
            (0.01, 0.03),
            (-0.03, -0.01),
            (-0.03, 0.02),  # the middle is on one side, the upper end on the other
            (-0.02, 0.03),
            (0.0, 0.02),
            (-0.02, 0.0),
        ],
        hints=(
            "Where would 0, no difference, have to lie for a tie?",
            "Better: the whole interval is above 0. Worse: the whole interval is below 0.",
            'if low > 0: return "better"; if high < 0: return "worse"; return "tie"',
        ),
        wrong=(
            _middle,
            _swapped,
            _upper_end,
            _touching,
        ),
    ),
    Exercise(
        number="18.4",
        reference=rank_needed,
        cases=lambda: [
            ([1.0] * 5, 0.55),
            ([2.0] * 4, 0.5),  # equal values, and their sum meets the share exactly
            ([5.0, 1.0, 1.0, 1.0, 1.0], 0.7),
            ([3.0, 2.0, 1.0, 1.0], 0.8),
            ([4.0, 3.0], 0.64),
            ([10.0, 4.0, 4.0, 4.0, 4.0, 4.0, 0.0], 0.9),
        ],
        hints=(
            "What is shared out is the squared norm of the matrix: "
            "the sum of the squares of all its singular values.",
            "Add up squares from the largest on, and stop as soon as the sum reaches share times the whole.",
            "for rank, square in enumerate(squares, start=1): kept += square; "
            "if kept >= share * sum(squares): return rank",
        ),
        wrong=(
            _not_squared,
            _place,
            _more_than,
            _one_each,
            _share_of_the_count,
        ),
    ),
)
