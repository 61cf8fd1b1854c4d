"""The exercises of notebook 08: momentum, Adam, decoupled weight decay, and a schedule with a floor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..records import Exercise, wrong


def momentum_step(weight, gradient, buffer, lr, momentum, dampening):
    first = buffer is None  # then the gradient enters whole, whatever the dampening
    buffer = gradient if first else momentum * buffer + (1 - dampening) * gradient
    return weight - lr * buffer, buffer


def adam_step(weight, gradient, m, v, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    mean = m / (1 - beta1**t)  # m itself goes on uncorrected
    square = v / (1 - beta2**t)
    return weight - lr * mean / (square**0.5 + eps), m, v


def adamw_step(weight, gradient, m, v, t, lr, decay):
    shrunk = (1 - lr * decay) * weight  # beside the gradient, so that v never sees it
    return adam_step(shrunk, gradient, m, v, t, lr, 0.9, 0.999, 1e-8)


def factor(step: int, total: int, warmup: int, least: float) -> float:
    if step < warmup:
        return (step + 1) / warmup
    travelled = (step - warmup + 1) / (total - warmup + 1)  # would be 1 one update after the last
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * travelled))


@wrong("you averaged with (1 - momentum), as Adam does; here the factor is (1 - dampening)")
def _averaged(weight, gradient, buffer, lr, momentum, dampening):
    old = torch.zeros_like(gradient) if buffer is None else buffer
    buffer = momentum * old + (1 - momentum) * gradient
    return weight - lr * buffer, buffer


@wrong("you dampened the first gradient, too; torch puts it into the buffer whole")
def _dampened_at_once(weight, gradient, buffer, lr, momentum, dampening):
    old = torch.zeros_like(gradient) if buffer is None else buffer
    buffer = momentum * old + (1 - dampening) * gradient
    return weight - lr * buffer, buffer


@wrong("you left the dampening out: from the second update on the gradient counts (1 - dampening)")
def _undampened(weight, gradient, buffer, lr, momentum, dampening):
    buffer = gradient if buffer is None else momentum * buffer + gradient
    return weight - lr * buffer, buffer


@wrong("you moved the weight by the gradient; it moves by the buffer")
def _gradient_alone(weight, gradient, buffer, lr, momentum, dampening):
    _, buffer = momentum_step(weight, gradient, buffer, lr, momentum, dampening)
    return weight - lr * gradient, buffer


@wrong("you added the step: that is the way up; the loss falls against the gradient")
def _uphill(weight, gradient, buffer, lr, momentum, dampening):
    _, buffer = momentum_step(weight, gradient, buffer, lr, momentum, dampening)
    return weight + lr * buffer, buffer


@wrong("you changed the weight that was given (-= works in place); return a new one")
def _in_place(weight, gradient, buffer, lr, momentum, dampening):
    _, buffer = momentum_step(weight, gradient, buffer, lr, momentum, dampening)
    weight -= lr * buffer
    return weight, buffer


@wrong(
    "your buffer holds the rate: the same path while the rate stays, another under a schedule; "
    "torch multiplies by lr outside"
)
def _rate_inside(weight, gradient, buffer, lr, momentum, dampening):
    new = lr * gradient
    buffer = new if buffer is None else momentum * buffer + (1 - dampening) * new
    return weight - buffer, buffer


def _adam(*, first=True, second=True, squared=True, root=True, inside=False, keep=True, late=0):
    """A step of Adam with one thing changed."""

    def answer(weight, gradient, m, v, t, lr, beta1, beta2, eps):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * (gradient**2 if squared else gradient.abs())
        mean = m / (1 - beta1 ** (t + late)) if first else m
        square = v / (1 - beta2 ** (t + late)) if second else v
        below = (square + eps) ** 0.5 if inside else (square**0.5 if root else square) + eps
        return weight - lr * mean / below, *((m, v) if keep else (mean, square))

    return answer


@wrong("you added decay * weight to the gradient: that is Adam with L2, which v divides away again")
def _l2(weight, gradient, m, v, t, lr, decay):
    return adam_step(weight, gradient + decay * weight, m, v, t, lr, 0.9, 0.999, 1e-8)


@wrong("you shrank by (1 - decay); torch multiplies decay by lr, so that a schedule lowers it, too")
def _without_the_rate(weight, gradient, m, v, t, lr, decay):
    return adam_step((1 - decay) * weight, gradient, m, v, t, lr, 0.9, 0.999, 1e-8)


@wrong("the weight grows: decay has to be subtracted")
def _growing(weight, gradient, m, v, t, lr, decay):
    return adam_step((1 + lr * decay) * weight, gradient, m, v, t, lr, 0.9, 0.999, 1e-8)


@wrong("you shrank the moved weight; torch shrinks first and moves then")
def _afterwards(weight, gradient, m, v, t, lr, decay):
    moved, m, v = adam_step(weight, gradient, m, v, t, lr, 0.9, 0.999, 1e-8)
    return (1 - lr * decay) * moved, m, v


@wrong("there is no decay in it: this is Adam")
def _no_decay(weight, gradient, m, v, t, lr, decay):
    return adam_step(weight, gradient, m, v, t, lr, 0.9, 0.999, 1e-8)


@wrong("the first update has rate 0, so it is wasted: the way up is (step + 1) / warmup")
def _from_zero(step, total, warmup, least):
    return step / warmup if step < warmup else factor(step, total, warmup, least)


@wrong("you forgot `least`: the way down ends there, not at 0")
def _to_zero(step, total, warmup, least):
    return factor(step, total, warmup, 0.0)


@wrong("you cut the cosine off at `least`, a kink; stretch it: least + (1 - least) * cosine")
def _cut_off(step, total, warmup, least):
    return max(least, factor(step, total, warmup, 0.0))


@wrong("your cosine runs over all updates; it should begin where the warm-up ends: the rate jumps")
def _over_all(step, total, warmup, least):
    return (step + 1) / warmup if step < warmup else factor(step - 1, total - 1, 0, least)


@wrong("a straight line goes down here; half a cosine was asked")
def _straight(step, total, warmup, least):
    down = least + (1 - least) * (total - step) / (total - warmup + 1)
    return (step + 1) / warmup if step < warmup else down


def _steps() -> list[tuple]:
    draw = torch.Generator().manual_seed(8)
    found = []
    for shape, settings in (((4,), (0.1, 0.9, 0.0)), ((2, 3), (0.5, 0.8, 0.5)), ((3,), (0.2, 0.0, 0.3))):
        weight = torch.randn(shape, generator=draw, dtype=torch.float64)
        gradients = torch.randn(4, *shape, generator=draw, dtype=torch.float64)
        found.append((weight, gradients, settings))
    return found


def _adam_steps() -> list[tuple]:
    draw = torch.Generator().manual_seed(80)
    found = []
    for scale, settings in (
        (1.0, (0.1, 0.9, 0.999, 1e-8)),
        (1e-2, (0.5, 0.8, 0.95, 1e-3)),
        (30.0, (0.2, 0.5, 0.9, 0.1)),
    ):
        weight = torch.randn(5, generator=draw, dtype=torch.float64)
        gradients = scale * torch.randn(4, 5, generator=draw, dtype=torch.float64)
        found.append((weight, gradients, settings))
    return found


def _decays() -> list[tuple]:
    return [(weight, gradients, (settings[0], 0.5)) for weight, gradients, settings in _adam_steps()]


def _walk(answer: Callable, case: tuple, state: tuple, counted: bool) -> Any:
    """Several updates after one another: weights and what the optimizer remembers, after each of them."""
    weight, gradients, settings = case
    seen, given, untouched = [], weight, weight.clone()
    for t, gradient in enumerate(gradients, start=1):
        result = answer(weight, gradient, *state, *((t,) if counted else ()), *settings)
        if result is None or result is ...:
            return result
        weight, *state = result
        seen.append([weight.clone(), *(part.clone() for part in state)])
    return {
        "weights and memory, update by update": seen,
        "the given weight still as it was": torch.equal(given, untouched),
    }


def _with_buffer(answer: Callable, case: tuple) -> Any:
    return _walk(answer, case, (None,), counted=False)


def _with_moments(answer: Callable, case: tuple) -> Any:
    return _walk(answer, case, (torch.zeros_like(case[0]), torch.zeros_like(case[0])), counted=True)


EXERCISES = (
    Exercise(
        number="08.1",
        reference=momentum_step,
        cases=_steps,
        hints=(
            "Two lines: the buffer first, then the weight. What is in the buffer before the first update?",
            "At the first update the buffer is None: take the gradient itself, undampened.",
            "buffer = momentum * buffer + (1 - dampening) * gradient; return weight - lr * buffer, buffer",
        ),
        wrong=(
            _averaged,
            _dampened_at_once,
            _undampened,
            _gradient_alone,
            _in_place,
            _uphill,
            _rate_inside,
        ),
        use=_with_buffer,
    ),
    Exercise(
        number="08.2",
        reference=adam_step,
        cases=_adam_steps,
        hints=(
            "Four lines: m, v, their corrected forms, the weight. t counts from 1.",
            "Divide m by 1 - beta1**t and v by 1 - beta2**t; m and v themselves are returned uncorrected.",
            "weight - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)) ** 0.5 + eps)",
        ),
        wrong=(
            wrong("you left out the bias correction of both moments")(_adam(first=False, second=False)),
            wrong("you corrected m and not v")(_adam(second=False)),
            wrong("you corrected v and not m")(_adam(first=False)),
            wrong("v averages the squares of the gradient; you averaged its size")(_adam(squared=False)),
            wrong("you divided by v; its root has the unit of the gradient")(_adam(root=False)),
            wrong("you added eps under the root; it belongs beside the root: sqrt(v) + eps")(
                _adam(inside=True)
            ),
            wrong("you returned the corrected moments, so the next update corrects them again")(
                _adam(keep=False)
            ),
            wrong("you corrected with t + 1; t counts from 1 already")(_adam(late=1)),
        ),
        use=_with_moments,
    ),
    Exercise(
        number="08.3",
        reference=adamw_step,
        cases=_decays,
        hints=(
            "Adam's step stays as it is. The decay acts on the weight, not on the gradient.",
            "The weight is multiplied by (1 - lr * decay); then Adam's step is subtracted.",
            "return adam_step((1 - lr * decay) * weight, gradient, m, v, t, lr, 0.9, 0.999, 1e-8)",
        ),
        wrong=(
            _l2,
            _without_the_rate,
            _growing,
            _afterwards,
            _no_decay,
        ),
        use=_with_moments,
    ),
    Exercise(
        number="08.4",
        reference=factor,
        cases=lambda: [
            (step, total, warmup, least)
            for total, warmup, least in ((10, 2, 0.1), (20, 5, 0.0), (7, 1, 0.5))
            for step in range(total)
        ],
        hints=(
            "Draw it for total = 10, warmup = 2. Which steps go up? What is the value at step warmup - 1?",
            "On the way down a share runs from 0 at step warmup - 1 to 1 at step total, one after the last; "
            "half a cosine turns it into 1 ... 0.",
            "least + (1 - least) * 0.5 * (1 + cos(pi * (step - warmup + 1) / (total - warmup + 1)))",
        ),
        wrong=(
            _from_zero,
            _to_zero,
            _cut_off,
            _over_all,
            _straight,
        ),
    ),
)
