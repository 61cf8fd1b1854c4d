"""The exercises of notebook 06: hide tokens, the masked loss, the posterior of a hidden word."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..records import Exercise, wrong


def hide_tokens(
    ids: Tensor, chosen: Tensor, fate: Tensor, other: Tensor, special: Tensor, mask: int
) -> list[Tensor]:
    asked = (chosen < 0.15) & ~special
    labels = torch.where(asked, ids, -100)
    seen = torch.where(asked & (fate < 0.8), mask, ids)
    seen = torch.where(asked & (fate >= 0.8) & (fate < 0.9), other, seen)
    return [seen, labels]


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != -100
    if not asked.any():
        return logits.sum() * 0.0  # 0, and still a part of the graph
    logs = logits[asked].log_softmax(-1)  # (asked, V)
    return -logs.gather(1, labels[asked][:, None]).mean()


def from_logs(logs: Mapping[str, float]) -> dict[str, float]:
    largest = max(logs.values())
    weights = {word: math.exp(value - largest) for word, value in logs.items()}
    total = sum(weights.values())
    return {word: weight / total for word, weight in weights.items()}


@wrong("you put the mask at every asked place; 10% get a random token, 10% are kept")
def _all_masked(ids, chosen, fate, other, special, mask):
    asked = (chosen < 0.15) & ~special
    return [torch.where(asked, mask, ids), torch.where(asked, ids, -100)]


@wrong("you hid special tokens too; <s> and </s> are never asked for")
def _special_hidden(ids, chosen, fate, other, special, mask):
    return hide_tokens(ids, chosen, fate, other, torch.zeros_like(special), mask)


@wrong("your labels ask for every token; where nothing is asked the label is -100")
def _labels_everywhere(ids, chosen, fate, other, special, mask):
    return [hide_tokens(ids, chosen, fate, other, special, mask)[0], ids.clone()]


@wrong("you do not ask for the tokens that are kept; they show themselves and still have a label")
def _kept_not_asked(ids, chosen, fate, other, special, mask):
    seen, labels = hide_tokens(ids, chosen, fate, other, special, mask)
    return [seen, torch.where(fate < 0.9, labels, -100)]


@wrong("your labels are what the network sees; they are the tokens of before the hiding")
def _labels_after(ids, chosen, fate, other, special, mask):
    seen, labels = hide_tokens(ids, chosen, fate, other, special, mask)
    return [seen, torch.where(labels != -100, seen, -100)]


@wrong("you divided by all tokens; divide by those that are asked for")
def _over_all(logits, labels):
    asked = labels != -100
    logs = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return -(logs * asked).sum() / labels.numel()


@wrong("where nothing is asked for you return nan: a mean over no places; return 0 there")
def _nan(logits, labels):
    asked = labels != -100
    return -logits[asked].log_softmax(-1).gather(1, labels[asked][:, None]).mean()


@wrong("you summed; the loss is the mean over the places that are asked for")
def _sum(logits, labels):
    return masked_loss(logits, labels) * (labels != -100).sum()


@wrong("you averaged each text first and then the texts; every asked token counts the same")
def _by_text(logits, labels):
    return torch.stack([masked_loss(x[None], y[None]) for x, y in zip(logits, labels, strict=True)]).mean()


@wrong(
    "you shifted the labels by one, as for a causal model; here the logits of a place are about that place"
)
def _shifted(logits, labels):
    return masked_loss(logits[:, :-1], labels[:, 1:])


@wrong("you did not divide: these are probabilities of texts, not of the word")
def _unnormalised(logs):
    return {word: math.exp(value) for word, value in logs.items()}


@wrong(
    "exp of -2000 is 0 in floating point, so you divided 0 by 0; subtract the largest logarithm before exp"
)
def _exp_first(logs):
    weights = {word: math.exp(value) for word, value in logs.items()}
    total = sum(weights.values())
    return {word: weight / total for word, weight in weights.items()}


@wrong("you divided the logarithms; take exp before the division")
def _share_of_logs(logs):
    total = sum(value for value in logs.values() if value > -math.inf)
    return {word: value / total if value > -math.inf else 0.0 for word, value in logs.items()}


@wrong("you gave everything to the most likely word; a posterior keeps the others")
def _winner(logs):
    best = max(logs, key=logs.get)
    return {word: float(word == best) for word in logs}


@wrong("you subtracted the largest and did not divide by the sum")
def _not_divided(logs):
    largest = max(logs.values())
    return {word: math.exp(value - largest) for word, value in logs.items()}


def _hiding() -> list[tuple]:
    draw = torch.Generator().manual_seed(6)
    found = []
    for n in (40, 120):
        ids, other = (torch.randint(5, 90, (n,), generator=draw) for _ in range(2))
        chosen, fate = torch.rand(n, generator=draw) * 0.4, torch.rand(n, generator=draw)
        special = torch.zeros(n, dtype=torch.bool)
        special[[0, -1]] = True
        chosen[[0, 1, 2, 3, -1]] = torch.tensor([0.01, 0.02, 0.03, 0.04, 0.05])
        fate[[0, 1, 2, 3, -1]] = torch.tensor([0.1, 0.5, 0.85, 0.95, 0.2])
        found.append((ids, chosen, fate, other, special, 4))
    return found


def _logits() -> list[tuple]:
    draw = torch.Generator().manual_seed(62)
    first = torch.tensor([[-100, 3, -100, 1, 2], [-100, -100, 0, -100, -100]])
    second = torch.tensor([[4, -100, 6, -100], [-100, 5, -100, 1], [-100, -100, -100, 2]])
    none = torch.full((2, 3), -100)
    return [(torch.randn(*labels.shape, 8, generator=draw) * 2, labels) for labels in (first, second, none)]


EXERCISES = (
    Exercise(
        number="06.1",
        reference=hide_tokens,
        cases=_hiding,
        hints=(
            "First decide which tokens are asked for; labels and input both depend on that.",
            "torch.where(condition, this, that) chooses by place; labels: torch.where(asked, ids, -100).",
            "Three fates of an asked token: mask, the token of `other`, unchanged. All three have a label.",
        ),
        wrong=(
            _all_masked,
            _special_hidden,
            _labels_everywhere,
            _kept_not_asked,
            _labels_after,
        ),
    ),
    Exercise(
        number="06.2",
        reference=masked_loss,
        cases=_logits,
        hints=(
            "Which places have a label? `labels != -100` chooses them, from logits and labels alike.",
            "log_softmax over the vocabulary, then gather the column of the label.",
            "The mean of an empty tensor is nan: return 0 where no place is asked for.",
        ),
        wrong=(
            _over_all,
            _nan,
            _sum,
            _by_text,
            _shifted,
        ),
    ),
    Exercise(
        number="06.3",
        reference=from_logs,
        cases=lambda: [
            ({"soup": -90.0, "bread": -91.0, "cake": -93.5},),
            ({"a": -2000.0, "b": -2001.0, "c": -math.inf},),
            ({"only": -3.0},),
        ],
        hints=(
            "A posterior is each probability over the sum of all. Which step fails for ln P = -2000?",
            "Subtract the largest logarithm from all before exp: the common factor cancels in the division.",
            "math.exp(-math.inf) is 0.0, so an impossible candidate needs no special case.",
        ),
        wrong=(
            _unnormalised,
            _exp_first,
            _share_of_logs,
            _winner,
            _not_divided,
        ),
    ),
)
