"""The exercises of notebook 02b: the binary loss, the printed formula's gradient, the next-token loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..records import Exercise, wrong


def binary_loss(z: Tensor, y: Tensor) -> Tensor:
    yes, no = F.logsigmoid(z), F.logsigmoid(-z)  # ln p and ln (1 - p), without computing p
    return -(y * yes + (1 - y) * no).mean()


def printed_gradient(z: Tensor, y: Tensor) -> Tensor:
    p = z.sigmoid()
    return y * (p - 1) - (1 - y) * p  # from -ln p where y is 1, from +ln (1 - p) where y is 0


def next_token_loss(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    z, answers = logits[:, :-1], tokens[:, 1:]  # place t answers for token t + 1
    real = torch.arange(1, tokens.shape[1]) < lengths[:, None]  # (texts, places - 1)
    return F.cross_entropy(z[real], answers[real])


@wrong("you left out the minus: this is the log likelihood, and minimising it makes the model worse")
def _no_minus(z, y):
    return -binary_loss(z, y)


@wrong("you left out the brackets: the minus has to stand before both terms")
def _no_brackets(z, y):
    return (-(y * F.logsigmoid(z)) + (1 - y) * F.logsigmoid(-z)).mean()


@wrong("you exchanged yes and no: ln p belongs to y, and ln (1 - p) to 1 - y")
def _exchanged(z, y):
    return binary_loss(-z, y)


@wrong("you dropped the second term: an answer no costs nothing then")
def _yes_only(z, y):
    return -(y * F.logsigmoid(z)).mean()


@wrong("you returned the sum; divide it by the number of answers")
def _summed(z, y):
    return binary_loss(z, y) * z.numel()


@wrong("you returned one loss for each answer; the mean over all is one number")
def _each(z, y):
    return -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z))


@wrong("you took the logits for probabilities: the sigmoid is missing")
def _no_sigmoid(z, y):
    return -(y * z.log() + (1 - y) * (1 - z).log()).mean()


@wrong(
    "at a large logit exp overflows, or the sigmoid rounds to 0 or 1, and the loss becomes inf or nan. "
    "F.logsigmoid(z) is ln p, and F.logsigmoid(-z) is ln (1 - p)"
)
def _log_of_sigmoid(z, y):
    p = z.sigmoid()
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


@wrong("you divided by the rows; the mean is over all answers, rows times labels")
def _by_rows(z, y):
    return binary_loss(z, y) * z.numel() / len(z)


@wrong("you cut each -ln p off at 100, as F.binary_cross_entropy does (it is banned); no logit needs a cut")
def _cut_off(z, y):
    return F.binary_cross_entropy(z.sigmoid(), y)


@wrong("that is the gradient with brackets, p - y; without them the second term has the other sign")
def _with_brackets(z, y):
    return z.sigmoid() - y


@wrong("the sign is turned: the first term has a minus in front of it, so its gradient is p - 1")
def _turned(z, y):
    return -printed_gradient(z, y)


@wrong("you left out the labels with y = 0; their term is ln(1 - p), and its gradient is -p")
def _present_only(z, y):
    return y * (z.sigmoid() - 1)


@wrong("you left out the labels with y = 1; their term is -ln p, and its gradient is p - 1")
def _absent_only(z, y):
    return -(1 - y) * z.sigmoid()


@wrong("you differentiated with respect to p; the formula is asked for its gradient at the logits")
def _at_p(z, y):
    p = z.sigmoid()
    return -y / p - (1 - y) / (1 - p)


@wrong("you took softmax; here each label has a sigmoid of its own")
def _softmax(z, y):
    p = z.softmax(-1)
    return y * (p - 1) - (1 - y) * p


@wrong("you averaged over the labels; the formula adds them")
def _averaged(z, y):
    return printed_gradient(z, y) / z.shape[-1]


@wrong("you forgot the shift: place t was asked for token t, which it has been given")
def _unshifted(logits, tokens, lengths):
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    return F.cross_entropy(logits[real], tokens[real])


@wrong("you shifted the wrong way: place t was asked for token t - 1")
def _backwards(logits, tokens, lengths):
    real = torch.arange(1, tokens.shape[1]) < lengths[:, None]
    return F.cross_entropy(logits[:, 1:][real], tokens[:, :-1][real])


@wrong("you returned the sum; divide it by the number of predictions")
def _not_divided(logits, tokens, lengths):
    return next_token_loss(logits, tokens, lengths) * (lengths - 1).sum()


@wrong("you divided by the tokens; a text of T tokens has T - 1 predictions, for its first one is no answer")
def _by_tokens(logits, tokens, lengths):
    return next_token_loss(logits, tokens, lengths) * (lengths - 1).sum() / lengths.sum()


@wrong("you divided by all places, the padding's too; only real answers are counted")
def _by_places(logits, tokens, lengths):
    return next_token_loss(logits, tokens, lengths) * (lengths - 1).sum() / tokens[:, 1:].numel()


@wrong("you divided by the number of texts; divide by the number of predictions")
def _by_texts(logits, tokens, lengths):
    return next_token_loss(logits, tokens, lengths) * (lengths - 1).sum() / len(lengths)


@wrong("you took a mean of means, so a short text counts as much as a long one; divide once, at the end")
def _mean_of_means(logits, tokens, lengths):
    each = [
        next_token_loss(logits[i : i + 1], tokens[i : i + 1], lengths[i : i + 1]) for i in range(len(lengths))
    ]
    return torch.stack(each).mean()


@wrong("you counted the padding: only the tokens before each row's length are answers")
def _padding_counted(logits, tokens, lengths):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@wrong("you counted one place too many in each shorter row: its answers are tokens[1:length]")
def _one_too_many(logits, tokens, lengths):
    real = torch.arange(tokens.shape[1] - 1) < lengths[:, None]
    return F.cross_entropy(logits[:, :-1][real], tokens[:, 1:][real])


@wrong("you took every token 0 for padding; it can be a real token, and `lengths` says what is padding")
def _zero_is_padding(logits, tokens, lengths):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)


@wrong("you shifted after joining the texts: the last place of one was asked for the first token of the next")
def _across_texts(logits, tokens, lengths):
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    return F.cross_entropy(logits[real][:-1], tokens[real][1:])


def _questions() -> list[tuple]:
    draw = torch.Generator().manual_seed(5)
    return [
        (torch.tensor([0.5]), torch.tensor([1.0])),
        (torch.tensor([2.0, -0.5]), torch.tensor([0.0, 1.0])),
        (torch.randn(4, 3, generator=draw), (torch.rand(4, 3, generator=draw) < 0.4).float()),
        (torch.tensor([200.0, -300.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])),
    ]


def _examples() -> list[tuple]:
    draw = torch.Generator().manual_seed(6)
    return [
        (torch.tensor([0.5]), torch.tensor([1.0])),
        (torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])),
        (torch.randn(5, generator=draw), torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])),
    ]


def _batches() -> list[tuple]:
    draw = torch.Generator().manual_seed(7)
    texts = torch.tensor([[1, 3, 2, 4, 0], [2, 4, 1, 3, 1]])
    return [
        (torch.randn(1, 4, 5, generator=draw), torch.tensor([[1, 3, 2, 4]]), torch.tensor([4])),
        (torch.randn(2, 5, 5, generator=draw), texts, torch.tensor([5, 5])),
        (torch.randn(2, 5, 5, generator=draw), texts, torch.tensor([5, 2])),
    ]


EXERCISES = (
    Exercise(
        number="02b.1",
        reference=binary_loss,
        cases=_questions,
        banned=(
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
            "BCELoss",
            "BCEWithLogitsLoss",
            "multilabel_soft_margin_loss",
            "MultiLabelSoftMarginLoss",
            "soft_margin_loss",
        ),
        hints=(
            "What does the article's formula lack, so that it is small where the model is right?",
            "One minus before both terms: -(y ln p + (1 - y) ln (1 - p)), and the mean over all answers.",
            "At a logit of 200 the sigmoid rounds to 1, and ln (1 - p) is -inf. What is 1 - p as a sigmoid?",
            "ln p is F.logsigmoid(z), and ln (1 - p) is F.logsigmoid(-z).",
            "-(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)).mean()",
        ),
        wrong=(
            _no_minus,
            _no_brackets,
            _exchanged,
            _yes_only,
            _summed,
            _each,
            _no_sigmoid,
            _log_of_sigmoid,
            _by_rows,
            _cut_off,
        ),
    ),
    Exercise(
        number="02b.2",
        reference=printed_gradient,
        cases=_examples,
        banned=("autograd", "backward", "grad", "grad_and_value", "jacrev", "jacfwd", "vjp"),
        hints=(
            "Take a label with y = 1 first, then one with y = 0: which term of the formula is left?",
            "With y = 1, -ln p is left, whose gradient is p - 1. With y = 0, +ln (1 - p) is left.",
            "The gradient of +ln (1 - p) at the logit is -p.",
            "y * (p - 1) - (1 - y) * p, with p = z.sigmoid()",
        ),
        wrong=(
            _with_brackets,
            _turned,
            _present_only,
            _absent_only,
            _at_p,
            _softmax,
            _averaged,
        ),
    ),
    Exercise(
        number="02b.3",
        reference=next_token_loss,
        cases=_batches,
        hints=(
            "Which token is the answer at place t? Which place has no answer?",
            "The logits are logits[:, :-1], the answers tokens[:, 1:].",
            "An answer at place t of a row is real where t < the row's length; the first one is at place 1.",
            "real = torch.arange(1, tokens.shape[1]) < lengths[:, None]",
            "F.cross_entropy(logits[:, :-1][real], tokens[:, 1:][real])",
        ),
        wrong=(
            _unshifted,
            _backwards,
            _not_divided,
            _by_tokens,
            _by_places,
            _by_texts,
            _mean_of_means,
            _padding_counted,
            _one_too_many,
            _zero_is_padding,
            _across_texts,
        ),
    ),
)
