"""The exercises of notebook 15: a verbaliser's scores, calibration, a completion's probability, labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..records import Exercise, wrong


def class_scores(p: Tensor, verbaliser: Sequence[Sequence[int]]) -> Tensor:
    scores = torch.stack([p[:, list(words)].sum(1) for words in verbaliser], dim=1)  # (texts, classes)
    return scores / scores.sum(1, keepdim=True)


def calibrated(scores: Tensor, content_free: Tensor) -> Tensor:
    ratio = scores / content_free  # (texts, classes) / (classes,)
    return ratio / ratio.sum(1, keepdim=True)


def completion(log_p: Tensor, ids: Tensor, length: int) -> float:
    first = len(ids) - length
    return sum(log_p[place - 1, ids[place]].item() for place in range(first, len(ids)))


def labels_needed(sizes: Sequence[int], accuracies: Sequence[float], goal: float) -> float:
    if accuracies[0] >= goal:
        return float(sizes[0])
    for i in range(1, len(sizes)):
        low, high = accuracies[i - 1], accuracies[i]
        if high >= goal:
            way = (goal - low) / (high - low)
            return math.exp(math.log(sizes[i - 1]) + way * math.log(sizes[i] / sizes[i - 1]))
    return math.inf


@wrong("you did not divide by the sum over the classes; most of p lies on other words")
def _sums(p, verbaliser):
    return torch.stack([p[:, list(words)].sum(1) for words in verbaliser], dim=1)


@wrong("you averaged the words of a class; their probabilities add up")
def _means(p, verbaliser):
    scores = torch.stack([p[:, list(words)].mean(1) for words in verbaliser], dim=1)
    return scores / scores.sum(1, keepdim=True)


@wrong("you took the most probable word of each class; all its words count")
def _largest(p, verbaliser):
    scores = torch.stack([p[:, list(words)].max(1).values for words in verbaliser], dim=1)
    return scores / scores.sum(1, keepdim=True)


@wrong("you took the first word of each class only; all its words count")
def _first_word(p, verbaliser):
    scores = torch.stack([p[:, words[0]] for words in verbaliser], dim=1)
    return scores / scores.sum(1, keepdim=True)


@wrong("you took the softmax of probabilities; they are probabilities already: divide by their sum")
def _softmax_of_sums(p, verbaliser):
    return _sums(p, verbaliser).softmax(1)


@wrong(
    "you multiplied the words' probabilities; one word stands in the gap, this *or* that one, so they add up"
)
def _product(p, verbaliser):
    scores = torch.stack([p[:, list(words)].prod(1) for words in verbaliser], dim=1)
    return scores / scores.sum(1, keepdim=True)


@wrong("you divided by the sum over the texts; each text's classes add up to 1")
def _over_texts(p, verbaliser):
    scores = _sums(p, verbaliser)
    return scores / scores.sum(0, keepdim=True)


@wrong("you divided, but the rows no longer add up to 1")
def _ratio_alone(scores, content_free):
    return scores / content_free


@wrong("you multiplied: frequent words are now favoured twice")
def _multiplied(scores, content_free):
    product = scores * content_free
    return product / product.sum(1, keepdim=True)


@wrong("you subtracted; the frequency of the words is a factor of the score, so divide by it")
def _subtracted(scores, content_free):
    return scores - content_free


@wrong("you took the softmax of the ratios; divide each row by its sum")
def _softmax_of_ratio(scores, content_free):
    return (scores / content_free).softmax(1)


@wrong("you did not use the content-free scores")
def _only_normalised(scores, content_free):
    return scores / scores.sum(1, keepdim=True)


@wrong("you divided by the sum over all texts; each text's row adds up to 1")
def _ratio_over_all(scores, content_free):
    ratio = scores / content_free
    return ratio / ratio.sum()


@wrong("you asked each row for a token that it has read; the row before speaks of it")
def _own_place(log_p, ids, length):
    return sum(log_p[place, ids[place]].item() for place in range(len(ids) - length, len(ids)))


@wrong("you divided by the number of tokens; ln P of a completion is a sum")
def _mean(log_p, ids, length):
    return completion(log_p, ids, length) / length


@wrong("you counted the text as well; the completion is the last `length` tokens")
def _whole_text(log_p, ids, length):
    return completion(log_p, ids, len(ids) - 1)


@wrong("you left out the completion's first token, often the label word itself")
def _first_left_out(log_p, ids, length):
    return completion(log_p, ids, length - 1)


@wrong("you counted one token too many: the text's last one")
def _one_too_many(log_p, ids, length):
    return completion(log_p, ids, length + 1)


@wrong("you returned the probability; asked for is its logarithm")
def _probability(log_p, ids, length):
    return math.exp(completion(log_p, ids, length))


@wrong("you interpolated between the numbers of labels; the axis is logarithmic, so between their logarithms")
def _straight(sizes, accuracies, goal):
    if accuracies[0] >= goal:
        return float(sizes[0])
    for i in range(1, len(sizes)):
        low, high = accuracies[i - 1], accuracies[i]
        if high >= goal:
            return sizes[i - 1] + (goal - low) / (high - low) * (sizes[i] - sizes[i - 1])
    return math.inf


@wrong("you returned the next measured size; the curve passes the goal before it")
def _next_size(sizes, accuracies, goal):
    return next((float(n) for n, a in zip(sizes, accuracies, strict=True) if a >= goal), math.inf)


@wrong("you returned the size before; there the goal is not yet reached")
def _size_before(sizes, accuracies, goal):
    place = next((i for i, a in enumerate(accuracies) if a >= goal), None)
    return math.inf if place is None else float(sizes[max(0, place - 1)])


@wrong("where the curve never reaches the goal nobody knows: return math.inf")
def _last_if_never(sizes, accuracies, goal):
    found = labels_needed(sizes, accuracies, goal)
    return float(sizes[-1]) if found == math.inf else found


@wrong("where the curve never reaches the goal, return math.inf: more than any")
def _none_if_never(sizes, accuracies, goal):
    found = labels_needed(sizes, accuracies, goal)
    return -1.0 if found == math.inf else found


@wrong("you returned the logarithm of the number of labels")
def _logarithm_kept(sizes, accuracies, goal):
    return math.log(labels_needed(sizes, accuracies, goal))


def _readings() -> list[tuple]:
    draw = torch.Generator().manual_seed(15)
    found = []
    for texts, verbaliser in (
        (2, [[0], [3, 4], [1]]),
        (3, [[5, 2], [0, 1, 4]]),
        (1, [[6], [2], [3], [0, 5]]),
    ):
        p = (2 * torch.randn(texts, 8, generator=draw)).softmax(-1)
        found.append((p, verbaliser))
    return found


def _scores() -> list[tuple]:
    draw = torch.Generator().manual_seed(150)
    return [
        (
            torch.rand(texts, classes, generator=draw).softmax(1),
            torch.rand(classes, generator=draw) * 0.1 + 0.01,
        )
        for texts, classes in ((1, 2), (4, 3), (3, 5))
    ]


def _texts() -> list[tuple]:
    draw = torch.Generator().manual_seed(1500)
    found = []
    for tokens, length in ((6, 2), (9, 4), (5, 3)):
        log_p = torch.randn(tokens, 7, generator=draw).log_softmax(-1)
        found.append((log_p, torch.randint(7, (tokens,), generator=draw), length))
    return found


EXERCISES = (
    Exercise(
        number="15.1",
        reference=class_scores,
        cases=_readings,
        hints=(
            "First one class: which columns of p belong to its words, and what is their joint probability?",
            "Add the columns of each class, put the sums side by side, and let each row add up to 1.",
            "scores = torch.stack([p[:, words].sum(1) for words in verbaliser], dim=1), then divide by the "
            "sum of each row",
        ),
        wrong=(
            _sums,
            _means,
            _largest,
            _first_word,
            _softmax_of_sums,
            _product,
            _over_texts,
        ),
    ),
    Exercise(
        number="15.2",
        reference=calibrated,
        cases=_scores,
        hints=(
            "A class whose words are frequent has a high score with any text. What does the content-free "
            "score tell about that?",
            "Divide each class by its content-free score; then let each row add up to 1 again.",
            "ratio = scores / content_free; return ratio / ratio.sum(1, keepdim=True)",
        ),
        wrong=(
            _ratio_alone,
            _multiplied,
            _subtracted,
            _softmax_of_ratio,
            _only_normalised,
            _ratio_over_all,
        ),
    ),
    Exercise(
        number="15.3",
        reference=completion,
        cases=_texts,
        hints=(
            "Row t of log_p is what the model says after reading token t. Which row speaks of token t + 1?",
            "The last `length` tokens are asked for; each is judged by the row before its own.",
            "sum(log_p[place - 1, ids[place]] for place in range(len(ids) - length, len(ids)))",
        ),
        wrong=(
            _own_place,
            _mean,
            _whole_text,
            _first_left_out,
            _one_too_many,
            _probability,
        ),
    ),
    Exercise(
        number="15.4",
        reference=labels_needed,
        cases=lambda: [
            ([10, 100, 1000], [0.3, 0.5, 0.9], 0.7),
            ([10, 40, 160], [0.2, 0.6, 0.7], 0.3),
            ([8, 16, 64], [0.5, 0.6, 0.8], 0.4),
            ([10, 30, 100], [0.3, 0.45, 0.6], 0.65),
            ([5, 50, 500], [0.2, 0.4, 0.8], 0.5),
        ],
        hints=(
            "Between which two sizes does the curve pass the goal? And what if it never does?",
            "How far up between the two accuracies is the goal? Go the same part of the way from ln n₁ to "
            "ln n₂. Never reached: math.inf; reached at once: the smallest size.",
            "way = (goal - low) / (high - low); math.exp(math.log(n1) + way * math.log(n2 / n1))",
        ),
        wrong=(
            _straight,
            _next_size,
            _size_before,
            _last_if_never,
            _none_if_never,
            _logarithm_kept,
        ),
    ),
)
