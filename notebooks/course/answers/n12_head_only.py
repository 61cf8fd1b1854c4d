"""The exercises of notebook 12: features, the head's gradient, a logistic regression, a cache's gain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..records import Exercise, wrong


def pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    real = mask[:, :, None].to(hidden.dtype)  # (batch, tokens, 1)
    return (hidden * real).sum(1) / real.sum(1)


def head_gradient(h: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    p = (h @ weight.T + bias).softmax(-1)  # (N, labels)
    errors = p.clone()
    errors[torch.arange(len(y)), y] -= 1
    return errors.T @ h / len(y), errors.mean(0)


def as_logistic(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    return weight[1] - weight[0], bias[1] - bias[0]


def speed_up(trunk: float, head: float, texts: Sequence[int], epochs: int) -> float:
    seen, different = len(texts), len(set(texts))
    without = epochs * seen * (trunk + head)
    kept = different * trunk + epochs * seen * head
    return without / kept


@wrong("you averaged over padding, too: the same text then has other features in a longer batch")
def _all_places(hidden, mask):
    return hidden.mean(1)


@wrong("you took the first token; this encoder was trained to be read by the mean")
def _first_place(hidden, mask):
    return hidden[:, 0]


@wrong("you summed; divide by the number of real tokens of each text")
def _summed_up(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1)


@wrong("you divided every text by the longest one's length; divide each by its own")
def _longest(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / mask.sum(1).max()


@wrong("you took the largest value of each number; the mean is asked for")
def _maximum(hidden, mask):
    return hidden.masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1)


@wrong("you divided by the real tokens of the whole batch; each text has its own length")
def _one_mean(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / mask.sum()


@wrong("you have y - p: that is the direction to go, the gradient is p - y")
def _uphill(h, y, weight, bias):
    return tuple(-g for g in head_gradient(h, y, weight, bias))


@wrong("you summed over the texts; the loss is their mean, so divide by N")
def _sum_of_texts(h, y, weight, bias):
    return tuple(len(y) * g for g in head_gradient(h, y, weight, bias))


@wrong("your dL/dW is (width, labels); it has the shape of W, (labels, width)")
def _turned(h, y, weight, bias):
    by_weight, by_bias = head_gradient(h, y, weight, bias)
    return by_weight.T, by_bias


@wrong("you took a sigmoid of every logit; the labels exclude each other: softmax")
def _sigmoids(h, y, weight, bias):
    errors = (h @ weight.T + bias).sigmoid()
    errors[torch.arange(len(y)), y] -= 1
    return errors.T @ h / len(y), errors.mean(0)


@wrong("you subtracted y from the logits; p is their softmax")
def _logits_for_p(h, y, weight, bias):
    errors = h @ weight.T + bias
    errors[torch.arange(len(y)), y] -= 1
    return errors.T @ h / len(y), errors.mean(0)


@wrong("you left y out: the error is p minus 1 at the true label")
def _without_truth(h, y, weight, bias):
    p = (h @ weight.T + bias).softmax(-1)
    return p.T @ h / len(y), p.mean(0)


@wrong("you left the bias out of the logits, so p is that of another head")
def _bias_forgotten(h, y, weight, bias):
    return head_gradient(h, y, weight, torch.zeros_like(bias))


@wrong("you averaged over the labels, too; only the texts are averaged")
def _divided_by_labels_too(h, y, weight, bias):
    return tuple(g / len(weight) for g in head_gradient(h, y, weight, bias))


@wrong("you have z₀ - z₁: the sigmoid of that is the probability of label 0")
def _other_way(weight, bias):
    return weight[0] - weight[1], bias[0] - bias[1]


@wrong("you took row 1 alone; row 0 pushes the probability, too")
def _one_row(weight, bias):
    return weight[1], bias[1]


@wrong("you halved the difference; the sigmoid takes all of z₁ - z₀")
def _halved(weight, bias):
    return (weight[1] - weight[0]) / 2, (bias[1] - bias[0]) / 2


@wrong("you added the rows; it is their difference that the softmax sees")
def _added(weight, bias):
    return weight[0] + weight[1], bias[0] + bias[1]


@wrong("you took the difference of the weights, and not that of the biases")
def _bias_kept(weight, bias):
    return weight[1] - weight[0], bias[1]


@wrong("that is the bound if the head costs nothing and no text stands there twice")
def _as_many_as_epochs(trunk, head, texts, epochs):
    return float(epochs)


@wrong("you divided the other way round: the time without a cache is on top")
def _turned_over(trunk, head, texts, epochs):
    return 1 / speed_up(trunk, head, texts, epochs)


@wrong("you let the head cost nothing, or run once; it is computed in every epoch, cache or not")
def _head_free(trunk, head, texts, epochs):
    return epochs * len(texts) / len(set(texts))


@wrong("you let the trunk read a text again that stands there twice; the cache knows it")
def _repeats_computed(trunk, head, texts, epochs):
    return speed_up(trunk, head, range(len(texts)), epochs)


@wrong("you left the first epoch's trunk out; it costs as much as without a cache")
def _first_epoch_free(trunk, head, texts, epochs):
    return epochs * len(texts) * (trunk + head) / (epochs * len(texts) * head)


def _hidden() -> list[tuple]:
    draw = torch.Generator().manual_seed(12)
    found = []
    for lengths, width in (((4, 2), 3), ((5, 1, 3), 2), ((2, 6), 4)):
        shape = len(lengths), max(lengths)
        mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
        found.append((torch.randn(*shape, width, generator=draw), mask))
    return found


def _heads() -> list[tuple]:
    draw = torch.Generator().manual_seed(120)
    found = []
    for texts, width, labels in ((5, 3, 2), (4, 6, 3), (7, 2, 4)):
        h = torch.randn(texts, width, generator=draw)
        y = torch.randint(labels, (texts,), generator=draw)
        weight = torch.randn(labels, width, generator=draw)
        found.append((h, y, weight, torch.randn(labels, generator=draw)))
    return found


def _pairs() -> list[tuple]:
    draw = torch.Generator().manual_seed(121)
    return [(torch.randn(2, n, generator=draw), torch.randn(2, generator=draw)) for n in (3, 5)]


EXERCISES = (
    Exercise(
        number="12.1",
        reference=pooled,
        cases=_hidden,
        hints=(
            "Padding is no part of a text. Which places may count, and by how many is the sum divided?",
            "Give the mask a last dimension, multiply, sum over the tokens, divide by the text's own length.",
            "real = mask[:, :, None]; (hidden * real).sum(1) / real.sum(1)",
        ),
        wrong=(
            _all_places,
            _first_place,
            _summed_up,
            _longest,
            _maximum,
            _one_mean,
        ),
    ),
    Exercise(
        number="12.2",
        reference=head_gradient,
        cases=_heads,
        hints=(
            "With respect to the logits the gradient is p - y, one row per text. How does a logit contain W?",
            "errors = softmax(h Wᵀ + b), minus 1 at the true label: (N, labels). "
            "dL/dW is (labels, width): errors.T @ h, over N.",
            "errors[torch.arange(len(y)), y] -= 1; return errors.T @ h / len(y), errors.mean(0)",
        ),
        wrong=(
            _uphill,
            _sum_of_texts,
            _turned,
            _sigmoids,
            _logits_for_p,
            _without_truth,
            _bias_forgotten,
            _divided_by_labels_too,
        ),
    ),
    Exercise(
        number="12.3",
        reference=as_logistic,
        cases=_pairs,
        hints=(
            "A softmax does not change when the same number is added to all logits. So what counts of two?",
            "p(label 1) = sigmoid(z₁ - z₀). Write z₁ - z₀ as a product with h, plus a number.",
            "weight[1] - weight[0], bias[1] - bias[0]",
        ),
        wrong=(
            _other_way,
            _one_row,
            _halved,
            _added,
            _bias_kept,
        ),
    ),
    Exercise(
        number="12.4",
        reference=speed_up,
        cases=lambda: [
            (10.0, 0.1, [1, 2, 3, 4], 5),
            (10.0, 2.0, [1, 2, 2, 3], 3),
            (4.0, 1.0, [7, 8, 9], 20),
        ],
        hints=(
            "Add up the seconds of both ways: what is computed in every epoch, and what once?",
            "Without a cache: epochs × texts × (trunk + head). With one: each different text's trunk once; "
            "the head still in every epoch.",
            "n = len(texts); epochs * n * (trunk + head) / (len(set(texts)) * trunk + epochs * n * head)",
        ),
        wrong=(
            _as_many_as_epochs,
            _turned_over,
            _head_free,
            _repeats_computed,
            _first_epoch_free,
        ),
    ),
)
