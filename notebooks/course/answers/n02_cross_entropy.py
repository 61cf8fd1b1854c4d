"""The exercises of notebook 02: the divergence, log-sum-exp, the gradient, the mean loss from logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..records import Exercise, wrong


def divergence(p: Tensor, q: Tensor) -> Tensor:
    terms = p * (p.log() - q.log())
    return torch.where(p > 0, terms, 0.0).sum(-1)  # 0 ln 0 counts 0


def log_sum_exp(z: Tensor) -> Tensor:
    m = z.max(-1, keepdim=True).values  # per row: then no exponent is above 0, and one of them is 0
    return m.squeeze(-1) + (z - m).exp().sum(-1).log()


def gradient(logits: Tensor, targets: Tensor) -> Tensor:
    y = F.one_hot(targets, logits.shape[-1])
    return (logits.softmax(-1) - y) / len(targets)


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    counted = targets != -100
    z, y = logits[counted], targets[counted]  # (terms, K), (terms,)
    losses = z.logsumexp(-1) - z.gather(-1, y[:, None]).squeeze(-1)
    return losses.sum() / counted.sum()


@wrong("you computed KL(q, p); the truth p stands first, and its probabilities are the weights")
def _reversed(p, q):
    return torch.where(q > 0, q * (q.log() - p.log()), 0.0).sum(-1)


@wrong("the sign is turned: divide p by q inside the logarithm, not q by p")
def _sign(p, q):
    return -divergence(p, q)


@wrong("that is the cross-entropy; subtract the entropy of p")
def _with_the_entropy(p, q):
    return torch.where(p > 0, -p * q.log(), 0.0).sum(-1)


@wrong("you averaged over the K answers; the divergence is a sum, and p is its weight already")
def _averaged(p, q):
    return divergence(p, q) / p.shape[-1]


@wrong("you left out the weight p in front of the logarithm")
def _unweighted(p, q):
    return torch.where(p > 0, p.log() - q.log(), 0.0).sum(-1)


@wrong("you used the logarithm to base 2; this course counts in nats, with .log()")
def _bits(p, q):
    return divergence(p, q) / torch.tensor(2.0).log()


@wrong("you summed over everything; sum over the last dimension, so that each row keeps its own divergence")
def _whole(p, q):
    return divergence(p, q).sum()


@wrong("0 times ln 0 is nan in a computer; where p is 0 the term counts 0")
def _zero_times_infinity(p, q):
    return (p * (p.log() - q.log())).sum(-1)


@wrong("right where q is above 0; where p and q are both 0 your term is nan, and it counts 0")
def _both_zero(p, q):
    return torch.xlogy(p, p / q).sum(-1)


@wrong("you did not take the max out: exp of 1000 is infinite, and exp of -1000 is 0")
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


@wrong("you returned the sum of the exponentials without its logarithm")
def _no_logarithm(z):
    return z.exp().sum(-1)


@wrong("you summed over everything; sum over the last dimension, so that each row keeps its own number")
def _one_number(z):
    return z.exp().sum().log()


@wrong("you kept the last dimension with size 1; squeeze it away at the end")
def _kept(z):
    return log_sum_exp(z).unsqueeze(-1)


@wrong("you computed y - p; the gradient is p - y, and descent subtracts it")
def _turned(logits, targets):
    return -gradient(logits, targets)


@wrong("you returned p without subtracting y: no logit is ever pushed up")
def _answer_forgotten(logits, targets):
    return logits.softmax(-1) / len(targets)


@wrong("you subtracted y from the logits; softmax turns them into p first")
def _of_logits(logits, targets):
    return (logits - F.one_hot(targets, logits.shape[-1])) / len(targets)


@wrong("you took softmax over the rows; each row is a distribution of its own: softmax(-1)")
def _over_rows(logits, targets):
    return (logits.softmax(0) - F.one_hot(targets, logits.shape[-1])) / len(targets)


@wrong("the loss is a mean over the rows: divide by their number")
def _of_the_sum(logits, targets):
    return gradient(logits, targets) * len(targets)


@wrong("you divided by rows times K; the mean is taken over the rows alone")
def _by_entries(logits, targets):
    return gradient(logits, targets) / logits.shape[-1]


@wrong(
    "you divided by K, the number of logits in a row; the mean is taken over the rows: divide by their number"
)
def _by_logits(logits, targets):
    return gradient(logits, targets) * len(targets) / logits.shape[-1]


@wrong("you averaged the rows into one; the loss is a mean, but every row keeps its own gradient")
def _rows_averaged(logits, targets):
    return gradient(logits, targets).sum(0)


@wrong("you added the rows into one; every row keeps its own gradient, divided by the number of rows")
def _rows_added(logits, targets):
    return gradient(logits, targets).sum(0) * len(targets)


@wrong("F.one_hot(targets) takes K from the largest target; give it logits.shape[-1] as well")
def _classes_guessed(logits, targets):
    return (logits.softmax(-1) - F.one_hot(targets)) / len(targets)


def _terms(logits, targets):
    counted = targets != -100
    return logits[counted], targets[counted]


@wrong("you returned the sum; divide it by the number of terms")
def _summed(logits, targets):
    return F.cross_entropy(logits, targets, reduction="sum")


@wrong("the sign is turned: this is the log likelihood, and minimising it makes the model worse")
def _negative(logits, targets):
    return -F.cross_entropy(logits, targets)


@wrong("you applied softmax twice: log-sum-exp takes the logits as they are")
def _of_probabilities(logits, targets):
    return F.cross_entropy(logits.softmax(-1), targets)


@wrong("you returned one loss for each row; the mean over the terms is one number")
def _not_averaged(logits, targets):
    return F.cross_entropy(logits, targets, reduction="none")


@wrong("you divided by all rows; a row with target -100 is no term, so padding would lower the loss")
def _by_rows(logits, targets):
    return F.cross_entropy(logits, targets, reduction="sum") / len(targets)


@wrong("you looked up the class -100; leave those rows out before you look up")
def _not_left_out(logits, targets):
    return (logits.logsumexp(-1) - logits.gather(-1, targets[:, None]).squeeze(-1)).mean()


@wrong("you looked up the logit number -100; leave those rows out before you look up")
def _indexed(logits, targets):
    return (logits.logsumexp(-1) - logits[range(len(targets)), targets]).mean()


@wrong("you let -100 count as the last class; those rows are no terms at all")
def _last_class(logits, targets):
    picked = logits[torch.arange(len(targets)), targets.clamp(min=-1)]  # -1 is the last column
    return (logits.logsumexp(-1) - picked).mean()


@wrong("you let -100 count as the first class; those rows are no terms at all")
def _first_class(logits, targets):
    return F.cross_entropy(logits, targets.clamp(min=0))


@wrong(
    "inf: a probability rounded to 0 before its logarithm, or exp overflowed. "
    "Subtract the right logit from log-sum-exp, with the max taken out"
)
def _log_of_softmax(logits, targets):
    z, y = _terms(logits, targets)
    return -z.softmax(-1).gather(-1, y[:, None]).log().mean()


def _distributions() -> list[tuple]:
    draw = torch.Generator().manual_seed(4)
    return [
        (torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.7, 0.2, 0.1])),
        (torch.randn(2, 3, generator=draw).softmax(-1), torch.randn(2, 3, generator=draw).softmax(-1)),
        (torch.tensor([0.0, 0.75, 0.25]), torch.tensor([0.2, 0.5, 0.3])),
        (torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.75, 0.0])),
    ]


def _rows() -> list[tuple]:
    draw = torch.Generator().manual_seed(2)
    return [
        (torch.tensor([2.0, 1.0, 0.0]),),
        (torch.randn(2, 3, 4, generator=draw),),
        (torch.tensor([[0.0, 999.0, 1000.0], [-1000.0, -1001.0, -1002.0]]),),
    ]


def _answers() -> list[tuple]:
    draw = torch.Generator().manual_seed(3)
    return [
        (torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1])),
        (torch.randn(2, 4, generator=draw), torch.tensor([3, 0])),
        (2 * torch.randn(5, 3, generator=draw), torch.tensor([0, 2, 2, 1, 0])),
    ]


def _padded() -> list[tuple]:
    draw = torch.Generator().manual_seed(3)
    return [
        (torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([1, 2])),
        (2 * torch.randn(6, 4, generator=draw), torch.tensor([0, 3, -100, 1, -100, 2])),
        (torch.tensor([[300.0, 0.0, 1.0], [0.0, 2.0, 1.0]]), torch.tensor([1, 1])),
    ]


EXERCISES = (
    Exercise(
        number="02.1",
        reference=divergence,
        cases=_distributions,
        hints=(
            "Which two logarithms are subtracted, and which of the two distributions is the weight?",
            "The terms are p * (p.log() - q.log()); sum them over the last dimension.",
            "Where p is 0 the term is 0, but a computer gives nan for 0 times ln 0.",
            "torch.where(p > 0, terms, 0.0).sum(-1)",
        ),
        wrong=(
            _reversed,
            _sign,
            _with_the_entropy,
            _averaged,
            _unweighted,
            _bits,
            _whole,
            _zero_times_infinity,
            _both_zero,
        ),
    ),
    Exercise(
        number="02.2",
        reference=log_sum_exp,
        cases=_rows,
        banned=("logsumexp", "softmax", "log_softmax", "logaddexp", "logcumsumexp"),
        hints=(
            "Which number can be taken out of the sum so that no exponent is above 0?",
            "The largest logit of each row, m: lse(z) = m + ln of the sum of exp(z - m).",
            "m = z.max(-1, keepdim=True).values; the sum is over dimension -1.",
            "m.squeeze(-1) + (z - m).exp().sum(-1).log()",
        ),
        wrong=(
            _naive,
            _not_added_back,
            _one_max,
            _mean_exp,
            _largest,
            _no_logarithm,
            _one_number,
            _kept,
        ),
    ),
    Exercise(
        number="02.3",
        reference=gradient,
        cases=_answers,
        banned=("autograd", "backward", "grad", "grad_and_value", "jacrev", "jacfwd", "vjp"),
        hints=(
            "What is the gradient of one row's loss? And what does the mean over the rows do to it?",
            "Prediction minus answer: p is logits.softmax(-1), y is a row with 1 at the target.",
            "y = F.one_hot(targets, logits.shape[-1])",
            "(logits.softmax(-1) - y) / len(targets)",
        ),
        wrong=(
            _turned,
            _answer_forgotten,
            _of_logits,
            _over_rows,
            _of_the_sum,
            _by_entries,
            _by_logits,
            _rows_averaged,
            _rows_added,
            _classes_guessed,
        ),
    ),
    Exercise(
        number="02.4",
        reference=mean_loss,
        cases=_padded,
        banned=("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss"),
        hints=(
            "Which rows are terms? A target of -100 says: not this one.",
            "counted = targets != -100; z, y = logits[counted], targets[counted]",
            "A row's loss is log-sum-exp minus the right logit; z.gather(-1, y[:, None]) picks that logit.",
            "losses = z.logsumexp(-1) - z.gather(-1, y[:, None]).squeeze(-1)",
            "losses.sum() / counted.sum()",
        ),
        wrong=(
            _summed,
            _negative,
            _of_probabilities,
            _not_averaged,
            _by_rows,
            _not_left_out,
            _indexed,
            _last_class,
            _first_class,
            _log_of_softmax,
        ),
    ),
)
