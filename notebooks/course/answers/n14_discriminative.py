"""The exercises of notebook 14: rates per layer, the slanted triangle, a gate's gradient, and its penalty."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..records import Exercise, wrong


def rates(layers: int, lr: float, decay: float) -> list[float]:
    return [lr * decay**depth for depth in range(layers - 1, -1, -1)]  # the head comes last, at depth 0


def slanted(t: int, total: int, cut_frac: float, ratio: float) -> float:
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (total - cut)
    return (1 + p * (ratio - 1)) / ratio


def gate_gradient(gate: Tensor, delta: Tensor, grad: Tensor) -> Tensor:
    opened = gate.sigmoid()
    return (grad * delta).sum() * opened * (1 - opened)


def penalised(loss: Tensor, gates: Tensor, strength: float) -> Tensor:
    return loss + strength * gates.sigmoid().sum()  # a sigmoid is never negative: its size is itself


@wrong("you counted from the input, so the embeddings have the largest rate; count from the head")
def _from_the_input(layers, lr, decay):
    return [lr * decay**place for place in range(layers)]


@wrong("your head is decayed, too; its depth is 0, so that it has the full rate")
def _head_decayed(layers, lr, decay):
    return [lr * decay**depth for depth in range(layers, 0, -1)]


@wrong("you divided by the decay, so lower layers are faster; multiply")
def _divided(layers, lr, decay):
    return [lr / decay**depth for depth in range(layers - 1, -1, -1)]


@wrong("your list starts at lr and grows above it; it has to end at lr, where the head is")
def _head_first(layers, lr, decay):
    return [lr / decay ** (layers - 1 - depth) for depth in range(layers - 1, -1, -1)]


@wrong("you took the same amount off at every layer; each rate is the one above times decay")
def _in_a_line(layers, lr, decay):
    return [lr * max(0.0, 1 - (1 - decay) * depth) for depth in range(layers - 1, -1, -1)]


@wrong("you left out lr: these are the multipliers, not the rates")
def _scales(layers, lr, decay):
    return [decay**depth for depth in range(layers - 1, -1, -1)]


@wrong(
    "you divided by cut * (1 / cut_frac - 1), as printed; where total * cut_frac is no whole "
    "number that is not total - cut: the rate can fall below 0, or the length be 0"
)
def _as_printed(t, total, cut_frac, ratio):
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return (1 + p * (ratio - 1)) / ratio


@wrong("you used the ratio for the length of the way down; that is total - cut updates")
def _by_the_ratio(t, total, cut_frac, ratio):
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (ratio - 1))
    return (1 + p * (ratio - 1)) / ratio


@wrong("you returned p: with the ratio, the lowest rate is 1 / ratio and not 0")
def _p_alone(t, total, cut_frac, ratio):
    cut = math.floor(total * cut_frac)
    return t / cut if t < cut else 1 - (t - cut) / (total - cut)


@wrong("your way down is `total` updates long; it begins at cut, so total - cut are left")
def _over_total(t, total, cut_frac, ratio):
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / total
    return (1 + p * (ratio - 1)) / ratio


@wrong("you did not round cut down to whole updates")
def _not_rounded(t, total, cut_frac, ratio):
    cut = total * cut_frac
    p = t / cut if t < cut else 1 - (t - cut) / (total - cut)
    return (1 + p * (ratio - 1)) / ratio


@wrong("you left out the way up: before cut, p is t / cut")
def _never_up(t, total, cut_frac, ratio):
    cut = math.floor(total * cut_frac)
    p = 1.0 if t < cut else 1 - (t - cut) / (total - cut)
    return (1 + p * (ratio - 1)) / ratio


@wrong("you left out the slope of the sigmoid, s (1 - s)")
def _without_slope(gate, delta, grad):
    return (grad * delta).sum()


@wrong("you multiplied by the sigmoid; its slope is s (1 - s)")
def _sigmoid_for_slope(gate, delta, grad):
    return (grad * delta).sum() * gate.sigmoid()


@wrong("you did not sum: one gate serves the whole tensor, so its gradient is one number")
def _not_summed(gate, delta, grad):
    opened = gate.sigmoid()
    return grad * delta * opened * (1 - opened)


@wrong("you took the mean over the weights; the chain rule adds them up")
def _averaged(gate, delta, grad):
    opened = gate.sigmoid()
    return (grad * delta).mean() * opened * (1 - opened)


@wrong("this is the gradient of delta; the gate's is asked")
def _of_the_movement(gate, delta, grad):
    return grad * gate.sigmoid()


@wrong("you left out delta: a gate acts as far as its tensor has moved")
def _without_delta(gate, delta, grad):
    opened = gate.sigmoid()
    return grad.sum() * opened * (1 - opened)


@wrong("you penalised |gate|: that pulls gates to 0, where they are half open; take sigmoid(gate)")
def _on_the_logits(loss, gates, strength):
    return loss + strength * gates.abs().sum()


@wrong("your penalty is subtracted, so open gates are rewarded; add it")
def _rewarded(loss, gates, strength):
    return loss - strength * gates.sigmoid().sum()


@wrong("you took the mean over the gates; L1 is a sum")
def _mean(loss, gates, strength):
    return loss + strength * gates.sigmoid().mean()


@wrong("you squared: L2 hardly pulls at a gate that is nearly closed; L1 is asked")
def _squared(loss, gates, strength):
    return loss + strength * gates.sigmoid().square().sum()


@wrong("you left out the strength")
def _unweighted(loss, gates, strength):
    return loss + gates.sigmoid().sum()


@wrong("you left out the loss")
def _penalty_alone(loss, gates, strength):
    return strength * gates.sigmoid().sum()


def _tensors() -> list[tuple]:
    draw = torch.Generator().manual_seed(14)
    found = []
    for shape, gate in (((3, 4), 0.0), ((5,), 1.5), ((2, 3, 2), -2.0)):
        delta, grad = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
        found.append((torch.tensor(gate), delta, grad))
    return found


def _gates() -> list[tuple]:
    draw = torch.Generator().manual_seed(41)
    return [
        (torch.tensor(0.7), torch.randn(6, generator=draw), 0.01),
        (torch.tensor(0.2), 2 * torch.randn(3, generator=draw) - 1, 0.5),
    ]


def _value_and_slope(answer: Callable, case: tuple) -> Any:
    loss, gates, strength = case
    leaf = gates.clone().requires_grad_(True)
    result = answer(loss, leaf, strength)
    if result is None or result is ...:
        return result
    slope = torch.autograd.grad(result, leaf)[0]
    return {"the penalised loss": result, "its gradient in the gates": slope}


EXERCISES = (
    Exercise(
        number="14.1",
        reference=rates,
        cases=lambda: [(8, 1e-3, 1 / 2.6), (3, 2.0, 0.5), (14, 2e-4, 0.8), (4, 1.0, 1.0)],
        hints=(
            "The last entry is the head's, and the head has the full rate. What has the one before it?",
            "A layer `depth` steps below the head has lr * decay**depth, and the head has depth 0.",
            "[lr * decay**depth for depth in range(layers - 1, -1, -1)]",
        ),
        wrong=(
            _from_the_input,
            _head_decayed,
            _divided,
            _head_first,
            _in_a_line,
            _scales,
        ),
        tolerance=1e-9,
    ),
    Exercise(
        number="14.2",
        reference=slanted,
        cases=lambda: [
            *((t, 40, 0.1, 32.0) for t in (0, 2, 4, 20, 39)),
            *((t, 16, 0.1, 32.0) for t in (0, 1, 9, 15)),
            *((t, 47, 0.3, 8.0) for t in (5, 14, 30, 46)),
            (0, 8, 0.1, 32.0),
        ],
        hints=(
            "First find p, the height of the triangle between 0 and 1; the ratio enters in the last line.",
            "cut is a whole number of updates, perhaps 0. From there p falls, and would be 0 at `total`.",
            "p = t / cut if t < cut else 1 - (t - cut) / (total - cut); return (1 + p * (ratio - 1)) / ratio",
        ),
        wrong=(
            _as_printed,
            _by_the_ratio,
            _p_alone,
            _over_total,
            _not_rounded,
            _never_up,
        ),
    ),
    Exercise(
        number="14.3",
        reference=gate_gradient,
        cases=_tensors,
        hints=(
            "The gate is one number that moves all weights of its tensor: w = w0 + sigmoid(gate) delta.",
            "Chain rule: add up (dL/dw) (dw/dgate) over all weights; dw/dgate is the slope times delta.",
            "s = gate.sigmoid(); return (grad * delta).sum() * s * (1 - s)",
        ),
        wrong=(
            _without_slope,
            _sigmoid_for_slope,
            _not_summed,
            _averaged,
            _of_the_movement,
            _without_delta,
        ),
    ),
    Exercise(
        number="14.4",
        reference=penalised,
        cases=_gates,
        hints=(
            "What should be small: the number gate, or how far it is open?",
            "How far a gate is open is sigmoid(gate), never negative. Add all of them up, times strength.",
            "return loss + strength * gates.sigmoid().sum()",
        ),
        wrong=(
            _on_the_logits,
            _rewarded,
            _mean,
            _squared,
            _unweighted,
            _penalty_alone,
        ),
        use=_value_and_slope,
    ),
)
