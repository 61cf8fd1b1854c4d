"""The exercises of notebook 13: the schedule, waking, what a frozen layer saves, how far a block moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..records import Exercise, wrong


def first_epochs(rows: int, every: int) -> list[int]:
    return [(rows - 1 - place) * every for place in range(rows)]  # from the input side to the head


def wake(rows: Sequence[tuple[int, Sequence[nn.Parameter]]], epoch: int) -> int:
    awake = 0
    for first, params in rows:
        for parameter in params:
            parameter.requires_grad_(epoch >= first)
            awake += parameter.numel() if parameter.requires_grad else 0
    return awake


def products(trained: Sequence[bool]) -> int:
    forward, weights = len(trained), sum(trained)
    lowest = trained.index(True) if any(trained) else len(trained)
    passed_on = max(0, len(trained) - 1 - lowest)  # by every layer above the lowest one that trains
    return forward + weights + passed_on


def moved(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    movement = sum((b - a).square().sum() for a, b in zip(before, after, strict=True))
    length = sum(a.square().sum() for a in before)
    return (movement / length).sqrt().item()


@wrong("you began at the embeddings; the head comes first, and it is the last row of the list")
def _from_the_bottom(rows, every):
    return first_epochs(rows, every)[::-1]


@wrong("in your schedule nothing trains in epoch 0; the head has to")
def _one_late(rows, every):
    return [epoch + every for epoch in first_epochs(rows, every)]


@wrong("you left `every` out: a new row wakes every so many epochs")
def _every_ignored(rows, every):
    return first_epochs(rows, 1)


@wrong("you divided by `every`; with a larger one the rows wake later, not earlier")
def _divided(rows, every):
    return [epoch // every for epoch in first_epochs(rows, 1)]


@wrong("you woke the top block with the head; the head trains alone first")
def _with_the_top_block(rows, every):
    return [max(0, epoch - every) for epoch in first_epochs(rows, every)]


def _waken(rows, rule):
    awake = 0
    for place, (first, params) in enumerate(rows):
        for parameter in params:
            parameter.requires_grad_(bool(rule(place, first)))
            awake += parameter.numel() if parameter.requires_grad else 0
    return awake


@wrong("you wrote epoch > first; a row wakes in its first epoch: >=")
def _one_epoch_late(rows, epoch):
    return _waken(rows, lambda _, first: epoch > first)


@wrong("you let the newest row train alone, as chain-thaw does; here the rows above stay awake")
def _newest_alone(rows, epoch):
    newest = max((first for first, _ in rows if first <= epoch), default=-1)
    return _waken(rows, lambda _, first: first == newest)


@wrong("you woke a row in its first epoch alone; it stays awake from then on")
def _exactly_then(rows, epoch):
    return _waken(rows, lambda _, first: first == epoch)


@wrong("you turned the comparison round: you wake what should still sleep")
def _upside_down(rows, epoch):
    return _waken(rows, lambda _, first: first >= epoch)


@wrong("you compared the epoch with the row's place; each row brings its own epoch")
def _by_place(rows, epoch):
    return _waken(rows, lambda place, _: epoch >= place)


@wrong("you counted tensors; count their numbers, numel()")
def _tensors_counted(rows, epoch):
    wake(rows, epoch)
    return sum(p.requires_grad for _, params in rows for p in params)


@wrong("you only ever wake: a model that comes with all weights awake stays awake as a whole")
def _never_put_to_sleep(rows, epoch):
    awake = 0
    for first, params in rows:
        for parameter in params if epoch >= first else ():
            parameter.requires_grad_(True)
            awake += parameter.numel()
    return awake


@wrong("you counted and changed nothing; set requires_grad of each parameter")
def _flags_forgotten(rows, epoch):
    return sum(p.numel() for first, params in rows for p in params if epoch >= first)


@wrong("you let frozen layers rest backward; one above a trained layer must pass the gradient on")
def _three_for_each_trained(trained):
    return len(trained) + 2 * sum(trained)


@wrong("you let every layer pass a gradient on; below the lowest trained one none is")
def _all_passed_on(trained):
    return len(trained) + sum(trained) + len(trained)


@wrong("the lowest trained layer passes nothing on: nobody below is waiting")
def _lowest_passes_on(trained):
    return products(trained) + (1 if any(trained) else 0)


@wrong("that is full fine-tuning, whatever is frozen")
def _always_full(trained):
    return 3 * len(trained)


@wrong("you let frozen layers rest forward, too; every layer computes its output")
def _forward_saved(trained):
    return products(trained) - len(trained) + sum(trained)


@wrong("you left out the gradients of the trained layers' own weights")
def _no_weights(trained):
    return products(trained) - sum(trained)


@wrong("that is the movement's own length; divide by the length of the weights before")
def _not_relative(before, after):
    return sum((b - a).square().sum() for a, b in zip(before, after, strict=True)).sqrt().item()


@wrong("you did not take the root")
def _square_left(before, after):
    return moved(before, after) ** 2


@wrong("you averaged the tensors' ratios: a small bias then counts like a large matrix")
def _mean_of_ratios(before, after):
    ratios = [((b - a).norm() / a.norm()).item() for a, b in zip(before, after, strict=True)]
    return sum(ratios) / len(ratios)


@wrong("you added norms; lengths of parts add up as squares")
def _norms_added(before, after):
    movement = sum((b - a).norm() for a, b in zip(before, after, strict=True))
    return (movement / sum(a.norm() for a in before)).item()


@wrong("you compared two lengths; a vector can turn without growing")
def _difference_of_lengths(before, after):
    one = sum(a.square().sum() for a in before).sqrt()
    return (sum(b.square().sum() for b in after).sqrt() / one - 1).item()


@wrong("you divided by the length after training; take the one before")
def _by_the_new_length(before, after):
    return moved(after, before)


def _rows() -> list[tuple]:
    found = []
    for firsts, sizes, epoch in (
        ((4, 2, 0), ((3, 2), (5,), (2, 2)), 2),
        ((3, 2, 1, 0), ((4,), (2, 1), (3,), (2,)), 1),
        ((2, 1, 0), ((2,), (6, 1), (3,)), 5),
        ((6, 3, 0), ((1, 2), (4,), (3,)), 4),
    ):
        params = [[nn.Parameter(torch.zeros(size)) for size in row] for row in sizes]
        found.append((list(zip(firsts, params, strict=True)), epoch))
    return found


def _flags(answer: Callable, case: tuple) -> Any:
    """What the answer returns, and what it left in requires_grad, from all awake and from all asleep."""
    rows, epoch = case
    left = {}
    for start in (True, False):
        for _, params in rows:
            for parameter in params:
                parameter.requires_grad_(start)
        said = answer(rows, epoch)
        if said is None or said is ...:
            return said
        left[f"requires_grad, before: {start}"] = [p.requires_grad for _, params in rows for p in params]
    return {"numbers awake": said, **left}


def _movements() -> list[tuple]:
    draw = torch.Generator().manual_seed(13)
    found = []
    for shapes in (((3, 4), (4,)), ((2, 2), (5, 3), (3,))):
        before = [torch.randn(*shape, generator=draw) for shape in shapes]
        after = [b + 0.3 * n * torch.randn(b.shape, generator=draw) for n, b in enumerate(before, 1)]
        found.append((before, after))
    return found


EXERCISES = (
    Exercise(
        number="13.1",
        reference=first_epochs,
        cases=lambda: [(3, 1), (8, 1), (4, 2), (5, 3)],
        hints=(
            "Which row has 0? And what is the number of the row below it?",
            "The head is the last row. A row that lies d rows below it wakes in epoch d × every.",
            "[(rows - 1 - place) * every for place in range(rows)]",
        ),
        wrong=(
            _from_the_bottom,
            _one_late,
            _every_ignored,
            _divided,
            _with_the_top_block,
        ),
    ),
    Exercise(
        number="13.2",
        reference=wake,
        cases=_rows,
        use=_flags,
        hints=(
            "A row is awake from its first epoch on, and asleep before. Both have to be written.",
            "parameter.requires_grad_(epoch >= first) for each parameter; count numel() of those awake.",
            "for first, params in rows: for p in params: p.requires_grad_(epoch >= first); "
            "awake += p.numel() if p.requires_grad else 0",
        ),
        wrong=(
            _one_epoch_late,
            _newest_alone,
            _exactly_then,
            _upside_down,
            _by_place,
            _tensors_counted,
            _never_put_to_sleep,
            _flags_forgotten,
        ),
    ),
    Exercise(
        number="13.3",
        reference=products,
        cases=lambda: [
            ([False, False, False, True],),
            ([True, False, False, False],),
            ([True] * 5,),
            ([False, True, False, True, True],),
            ([False] * 3,),
        ],
        hints=(
            "Three sums: a product per layer forward, one per trained layer for its weights, and a third.",
            "A gradient is passed on by every layer that has a trained one below it, trained itself or not.",
            "lowest = trained.index(True); the third sum is len(trained) - 1 - lowest",
        ),
        wrong=(
            _three_for_each_trained,
            _all_passed_on,
            _lowest_passes_on,
            _always_full,
            _forward_saved,
            _no_weights,
        ),
    ),
    Exercise(
        number="13.4",
        reference=moved,
        cases=_movements,
        hints=(
            "Take a block's tensors as one long vector. How long is its movement, how long was it before?",
            "Sum the squares over all tensors first; divide; take one root at the end.",
            "(sum((b - a).square().sum() ...) / sum(a.square().sum() ...)).sqrt().item()",
        ),
        wrong=(
            _not_relative,
            _square_left,
            _mean_of_ratios,
            _norms_added,
            _difference_of_lengths,
            _by_the_new_length,
        ),
    ),
)
