"""The exercises of notebook 02: log-sum-exp, cross-entropy from logits, its gradient, the divergence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..records import Exercise, wrong


def log_sum_exp(z: Tensor) -> Tensor:
    m = z.max(-1, keepdim=True).values  # per row: then no exponent is above 0, and one of them is 0
    return m.squeeze(-1) + (z - m).exp().sum(-1).log()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    counted = targets != -100
    z, y = logits[counted], targets[counted]  # (terms, K), (terms,)
    losses = z.logsumexp(-1) - z.gather(-1, y[:, None]).squeeze(-1)
    return losses.sum() / counted.sum()


def gradient(logits: Tensor, targets: Tensor) -> Tensor:
    counted = targets != -100
    y = F.one_hot(targets.clamp(min=0), logits.shape[-1])  # -100 is no class; its row becomes 0 below
    return (logits.softmax(-1) - y) * counted[:, None] / counted.sum()


def divergence(p: Tensor, logits: Tensor) -> Tensor:
    terms = p * (p.log() - logits.log_softmax(-1))
    return torch.where(p > 0, terms, 0.0).sum(-1)  # 0 ln 0 counts 0


@wrong("you did not take the max out: exp of 1000 is infinite, exp of -1000 is 0")
def _naive(z):
    return z.exp().sum(-1).log()


@wrong("you took the max out and did not add it back at the end")
def _not_added_back(z):
    return (z - z.max(-1, keepdim=True).values).exp().sum(-1).log()


@wrong("you took one max for all rows; a row far below it becomes ln 0. Each row needs its own")
def _one_max(z):
    return z.max() + (z - z.max()).exp().sum(-1).log()


@wrong("you averaged the exponentials; log-sum-exp adds them, so you are ln K too low")
def _mean_exp(z):
    m = z.max(-1, keepdim=True).values
    return m.squeeze(-1) + (z - m).exp().mean(-1).log()


@wrong("you returned the max; ln of the sum of exp(z - m) is still missing")
def _largest(z):
    return z.max(-1).values


def _terms(logits, targets):
    counted = targets != -100
    return logits[counted], targets[counted]


@wrong("you returned the sum; divide it by the number of terms")
def _summed(logits, targets):
    return F.cross_entropy(logits, targets, reduction="sum")


@wrong(
    "you divided by all rows; those with target -100 are no terms, so the more padding, the lower your loss"
)
def _by_rows(logits, targets):
    return F.cross_entropy(logits, targets, reduction="sum") / len(targets)


@wrong("the sign is turned: this is the log likelihood, and minimising it unlearns")
def _negative(logits, targets):
    return -F.cross_entropy(logits, targets)


@wrong("you applied softmax twice: the logits go in as they are")
def _of_probabilities(logits, targets):
    return F.cross_entropy(logits.softmax(-1), targets)


@wrong(
    "you took the logarithm of softmax: a probability that rounds to 0 gives inf. "
    "Subtract the right logit from log-sum-exp"
)
def _log_of_softmax(logits, targets):
    z, y = _terms(logits, targets)
    return -z.softmax(-1).gather(-1, y[:, None]).log().mean()


@wrong("you looked up the class -100; leave those rows out before you look up")
def _not_left_out(logits, targets):
    return (logits.logsumexp(-1) - logits.gather(-1, targets[:, None]).squeeze(-1)).mean()


@wrong("you let -100 count as the last class; those rows are no terms at all")
def _last_class(logits, targets):
    picked = logits[torch.arange(len(targets)), targets.clamp(min=-1)]  # -1 is the last column
    return (logits.logsumexp(-1) - picked).mean()


@wrong("you computed y - p; the gradient is p - y, and descent subtracts it")
def _turned(logits, targets):
    return -gradient(logits, targets)


@wrong("you forgot that the loss is a mean: divide by the number of terms")
def _of_the_sum(logits, targets):
    return gradient(logits, targets) * (targets != -100).sum()


@wrong("you divided by all rows; only those without -100 are terms")
def _of_all_rows(logits, targets):
    return gradient(logits, targets) * (targets != -100).sum() / len(targets)


@wrong("you returned p without subtracting y: no logit is ever pushed up")
def _answer_forgotten(logits, targets):
    counted = targets != -100
    return logits.softmax(-1) * counted[:, None] / counted.sum()


@wrong("your rows with target -100 have a gradient; they are no terms, so theirs is 0")
def _padding_pushes(logits, targets):
    y = F.one_hot(targets.clamp(min=0), logits.shape[-1])
    return (logits.softmax(-1) - y) / (targets != -100).sum()


@wrong("you computed KL(q, p); the truth p stands first, and the mean is taken under it")
def _reversed(p, logits):
    q = logits.softmax(-1)
    return (q * (q.log() - p.log())).sum(-1)


@wrong("that is the cross-entropy; subtract the entropy of p")
def _with_the_entropy(p, logits):
    return -(p * logits.log_softmax(-1)).sum(-1)


@wrong("0 times ln 0 is nan in a computer; where p is 0 the term counts 0")
def _zero_times_infinity(p, logits):
    return (p * (p.log() - logits.log_softmax(-1))).sum(-1)


@wrong("you divided by K; the divergence is a sum over the answers, weighted by p already")
def _averaged(p, logits):
    return divergence(p, logits) / p.shape[-1]


@wrong("you took the logits for ln q; subtract their log-sum-exp first")
def _unnormalised(p, logits):
    return torch.where(p > 0, p * (p.log() - logits), 0.0).sum(-1)


def _rows() -> list[tuple]:
    draw = torch.Generator().manual_seed(2)
    return [
        (torch.randn(5, generator=draw),),
        (torch.tensor([[1000.0, 999.0, 0.0], [-1000.0, -1001.0, -1002.0]]),),
        (torch.randn(2, 3, 4, generator=draw),),
    ]


def _answers() -> list[tuple]:
    draw = torch.Generator().manual_seed(3)
    return [
        (2 * torch.randn(6, 4, generator=draw), torch.tensor([0, 3, -100, 1, -100, 2])),
        (torch.tensor([[300.0, 0.0, 1.0], [0.0, 2.0, 1.0]]), torch.tensor([1, 1])),
        (torch.randn(3, 5, generator=draw), torch.tensor([4, -100, 0])),
    ]


def _distributions() -> list[tuple]:
    draw = torch.Generator().manual_seed(4)
    return [
        (torch.tensor([0.5, 0.3, 0.2]), torch.tensor([1.0, 0.0, -1.0])),
        (torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.randn(4, generator=draw)),
        (torch.randn(3, 5, generator=draw).softmax(-1), torch.randn(3, 5, generator=draw)),
    ]


EXERCISES = (
    Exercise(
        number="02.1",
        reference=log_sum_exp,
        cases=_rows,
        hints=(
            "Which number may be taken out of the sum so that no exponent is above 0?",
            "The largest logit of each row, m: lse(z) = m + ln of the sum of exp(z - m).",
            "m = z.max(-1, keepdim=True).values; the sum is over dim -1, and m needs .squeeze(-1)",
        ),
        wrong=(
            _naive,
            _not_added_back,
            _one_max,
            _mean_exp,
            _largest,
        ),
    ),
    Exercise(
        number="02.2",
        reference=cross_entropy,
        cases=_answers,
        hints=(
            "Which rows are terms? A target of -100 says: not this one.",
            "The loss of a row is log-sum-exp minus the right logit; gather picks that logit.",
            "losses = z.logsumexp(-1) - z.gather(-1, y[:, None]).squeeze(-1), for the counted rows alone",
            "losses.sum() / counted.sum()",
        ),
        wrong=(
            _summed,
            _by_rows,
            _negative,
            _of_probabilities,
            _log_of_softmax,
            _not_left_out,
            _last_class,
        ),
    ),
    Exercise(
        number="02.3",
        reference=gradient,
        cases=_answers,
        hints=(
            "Prediction minus answer, row by row; and the loss was a mean over the terms.",
            "y is F.one_hot(targets.clamp(min=0), K); clamp -100, no class, and set its rows to 0 after.",
            "(logits.softmax(-1) - y) * counted[:, None] / counted.sum()",
        ),
        wrong=(
            _turned,
            _of_the_sum,
            _of_all_rows,
            _answer_forgotten,
            _padding_pushes,
        ),
    ),
    Exercise(
        number="02.4",
        reference=divergence,
        cases=_distributions,
        hints=(
            "KL(p, q) is the sum of p (ln p - ln q), and ln q comes from the logits without computing q.",
            "ln q is logits.log_softmax(-1).",
            "Where p is 0 the term is 0, but 0 ln 0 is nan: choose with torch.where(p > 0, terms, 0.0).",
        ),
        wrong=(
            _reversed,
            _with_the_entropy,
            _zero_times_infinity,
            _averaged,
            _unnormalised,
        ),
    ),
)
