"""Exercises of notebook 11: the last real token, position ids, the loss of a read-out, a paired interval."""

from __future__ import annotations

import math

import torch

from ..records import Exercise, wrong

# 11.1 the last real token, on either side of the padding


def last_real(mask):
    """(batch, tokens) of 0 and 1 -> (batch,): the largest place whose mask is 1."""
    places = torch.arange(mask.shape[1], device=mask.device)  # (tokens,)
    return (places * mask).argmax(1)


@wrong(
    "you counted the real tokens and took 1 away: right only where padding stands at the end. "
    "With padding in front it points into the text, or before it"
)
def last_real_by_count(mask):
    return mask.sum(1) - 1


@wrong("you took the last place of the batch: where padding stands at the end that is padding")
def last_real_at_the_end(mask):
    return torch.full((len(mask),), mask.shape[1] - 1, device=mask.device)


@wrong("you took the first real token: the mask's largest value is 1, and argmax stops at the first")
def last_real_first(mask):
    return mask.argmax(1)


@wrong("you took the place before the first 0: with padding in front, or with none, that is -1")
def last_real_before_padding(mask):
    return mask.argmin(1) - 1


@wrong("you are one place too far: places count from 0")
def last_real_one_too_far(mask):
    return last_real(mask) + 1


def mask_cases() -> list[tuple]:
    right = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    return [(right,), (right.flip(1),), (torch.tensor([[0, 1, 1, 1, 0, 0]]),)]


# 11.2 position ids


def position_ids(mask):
    """(batch, tokens) of 0 and 1 -> the place of each real token in its own text, 0 on padding before it."""
    return (mask.cumsum(1) - 1).clamp(min=0)


@wrong(
    "you numbered the places of the batch: a text with padding in front then begins late, as if "
    "words stood before it. This is what GPT-2 does when nobody tells it otherwise"
)
def position_ids_of_the_batch(mask):
    return torch.arange(mask.shape[1], device=mask.device).expand_as(mask)


@wrong("you began at 1: cumsum counts, and places begin at 0")
def position_ids_from_one(mask):
    return mask.cumsum(1)


@wrong("padding in front got place -1, and a table of places has no row -1: raise it to 0")
def position_ids_below_zero(mask):
    return mask.cumsum(1) - 1


@wrong("you counted from the end: the last token got place 0")
def position_ids_reversed(mask):
    return (mask.flip(1).cumsum(1).flip(1) - 1).clamp(min=0)


def only_where_real(answer, case: tuple):
    """What an answer gives at real tokens, and whether every place is one that GPT-2 has."""
    (mask,) = case
    found = answer(mask)
    if found is None or found is ...:
        return found
    return [found[mask == 1], bool((found >= 0).all())]


# 11.3 the classification loss from the logits of every position


def read_out_loss(logits, mask, labels):
    """Cross-entropy in nats at each text's last real token, mean over the texts."""
    rows = torch.arange(len(labels), device=logits.device)
    z = logits[rows, last_real(mask)]  # (batch, classes)
    log_p = z - z.logsumexp(-1, keepdim=True)
    return -log_p[rows, labels].mean()


@wrong("you added the texts' losses up: asked for is their mean")
def read_out_loss_summed(logits, mask, labels):
    return read_out_loss(logits, mask, labels) * len(labels)


@wrong("you read out at the last place of the batch: for shorter texts that is padding")
def read_out_loss_at_the_end(logits, mask, labels):
    return torch.nn.functional.cross_entropy(logits[:, -1], labels)


@wrong(
    "you asked every real token for the label: the first ones have read next to nothing. One place per text"
)
def read_out_loss_everywhere(logits, mask, labels):
    log_p = logits.log_softmax(-1)[torch.arange(len(labels)), :, labels]  # (batch, tokens)
    return -(log_p * mask).sum() / mask.sum()


@wrong(
    "this is the loss of several labels at once (a sigmoid each): a text here has exactly one "
    "topic, so its probabilities add up to 1 by a softmax"
)
def read_out_loss_of_several_labels(logits, mask, labels):
    z = logits[torch.arange(len(labels)), last_real(mask)]
    y = torch.nn.functional.one_hot(labels, z.shape[-1]).to(z.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1).mean()


@wrong(
    "this is the formula as an article prints: its second term has the wrong sign and belongs to another task"
)
def read_out_loss_as_printed(logits, mask, labels):
    p = logits[torch.arange(len(labels)), last_real(mask)].softmax(-1)
    y = torch.nn.functional.one_hot(labels, p.shape[-1]).to(p.dtype)
    return (-(y * p.log()).sum(-1) + ((1 - y) * (1 - p).log()).sum(-1)).mean()


def loss_cases() -> list[tuple]:
    random = torch.Generator().manual_seed(11)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
    labels = torch.tensor([0, 2, 1])
    return [
        (torch.randn(3, 6, 4, generator=random), mask, labels),
        (torch.randn(3, 6, 4, generator=random), mask.flip(1), labels),
        (torch.randn(3, 6, 3, generator=random) * 3, mask, labels),
    ]


# 11.4 the gap between two classifiers on the same rows


def gap(first, second):
    """(gap, low, high): mean of the differences, right or wrong row by row, and its 95% interval."""
    differences = [int(a) - int(b) for a, b in zip(first, second, strict=True)]  # each -1, 0 or 1
    rows = len(differences)
    mean = sum(differences) / rows
    variance = sum((d - mean) ** 2 for d in differences) / (rows - 1)
    reach = 1.96 * math.sqrt(variance / rows)
    return mean, mean - reach, mean + reach


@wrong(
    "you added the two variances, as if the two had answered different rows. On the same rows "
    "much cancels: take the differences first"
)
def gap_of_other_rows(first, second):
    rows, a, b = len(first), sum(first) / len(first), sum(second) / len(second)
    reach = 1.96 * math.sqrt((a * (1 - a) + b * (1 - b)) / (rows - 1))
    return a - b, a - b - reach, a - b + reach


@wrong("you forgot to divide by √n: this is the spread of one row, not of the mean of n")
def gap_of_one_row(first, second):
    mean, _, high = gap(first, second)
    wide = (high - mean) * math.sqrt(len(first))
    return mean, mean - wide, mean + wide


@wrong("you took second minus first")
def gap_the_other_way(first, second):
    return gap(second, first)


@wrong("you went one standard deviation to each side: that holds 68%; for 95% take 1.96")
def gap_one_deviation(first, second):
    mean, low, high = gap(first, second)
    return mean, mean - (mean - low) / 1.96, mean + (high - mean) / 1.96


@wrong("you divided the squares by n: the mean was taken from the same rows, so divide by n - 1")
def gap_variance_of_these_rows(first, second):
    mean, low, high = gap(first, second)
    share = math.sqrt((len(first) - 1) / len(first))
    return mean, mean - share * (mean - low), mean + share * (high - mean)


def gap_cases() -> list[tuple]:
    random = torch.Generator().manual_seed(4)
    sure = torch.rand(60, generator=random)
    first, second = (sure < 0.9).tolist(), (sure < 0.6).tolist()
    other = (torch.rand(60, generator=random) < 0.7).tolist()
    return [(first, second), (first, other), ([True, True, False, True], [True, False, False, True])]


EXERCISES = (
    Exercise(
        number="11.1",
        reference=last_real,
        cases=mask_cases,
        hints=(
            "Number the places 0, 1, 2, … along a row. Which of these do you want from the real ones?",
            "torch.arange(mask.shape[1]) are the places; multiplied by the mask, padding becomes 0.",
            "argmax over dim 1 gives the place of the largest product: the last real token, on any side.",
        ),
        wrong=(
            last_real_by_count,
            last_real_at_the_end,
            last_real_first,
            last_real_before_padding,
            last_real_one_too_far,
        ),
    ),
    Exercise(
        number="11.2",
        reference=position_ids,
        cases=mask_cases,
        use=only_where_real,
        hints=(
            "The first real token of every text is at place 0, wherever the padding stands.",
            "mask.cumsum(1) counts the real tokens up to each place: 1 at the first of them.",
            "Take 1 away. Padding in front would then get -1, which is no place: clamp(min=0).",
        ),
        wrong=(
            position_ids_of_the_batch,
            position_ids_from_one,
            position_ids_below_zero,
            position_ids_reversed,
        ),
    ),
    Exercise(
        number="11.3",
        reference=read_out_loss,
        cases=loss_cases,
        hints=(
            "Three steps: one row of logits per text, turn it into log-probabilities, look up the label.",
            "logits[torch.arange(batch), last] picks a place per text; last is your 11.1.",
            "ln p = z - logsumexp(z), without a softmax that could become 0.",
            "Then minus the log-probability of the label, and the mean over the texts.",
        ),
        wrong=(
            read_out_loss_summed,
            read_out_loss_at_the_end,
            read_out_loss_everywhere,
            read_out_loss_of_several_labels,
            read_out_loss_as_printed,
        ),
    ),
    Exercise(
        number="11.4",
        reference=gap,
        cases=gap_cases,
        hints=(
            "Both answered the same rows. Row by row the difference is 1, 0 or -1; its mean is the gap.",
            "A mean of n numbers is uncertain by their standard deviation over √n.",
            "Variance with n - 1; then 1.96 √(variance / n) to each side.",
        ),
        wrong=(
            gap_of_other_rows,
            gap_of_one_row,
            gap_variance_of_these_rows,
            gap_the_other_way,
            gap_one_deviation,
        ),
        tolerance=1e-6,
    ),
)
