"""Exercises of notebook 10: mean pooling, parameters of a block, the loss of one row, accuracy by group."""

from __future__ import annotations

import torch

from ..records import Exercise, wrong

# 10.1 mean over the real tokens


def pool(hidden, mask):
    """(batch, tokens, width), (batch, tokens) of 0 and 1 -> (batch, width)."""
    real = mask.unsqueeze(-1).to(hidden.dtype)  # (batch, tokens, 1)
    return (hidden * real).sum(1) / real.sum(1)


@wrong("you averaged over all positions: the mask is not used, so padding counts")
def pool_with_padding(hidden, mask):
    return hidden.mean(1)


@wrong("you divided by the padded length; divide by the number of real tokens")
def pool_over_tokens(hidden, mask):
    return (hidden * mask.unsqueeze(-1)).sum(1) / mask.shape[1]


@wrong("you took the first token alone; the mean over all real tokens is asked for")
def pool_first(hidden, mask):
    return hidden[:, 0]


@wrong("you summed the real tokens and did not divide by how many there are")
def pool_sum(hidden, mask):
    return (hidden * mask.unsqueeze(-1)).sum(1)


def pool_cases() -> list[tuple]:
    random = torch.Generator().manual_seed(0)
    right = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    return [
        (torch.randn(3, 5, 4, generator=random), right),
        (torch.randn(3, 5, 4, generator=random), right.flip(1)),  # padding in front
        (torch.randn(1, 7, 2, generator=random), torch.tensor([[1, 1, 1, 1, 0, 0, 0]])),
    ]


# 10.2 parameters of a block


def block_parameters(width, inner):
    """Query, key, value and output; two feed-forward layers; two LayerNorms. Biases count."""
    attention = 4 * (width * width + width)
    feed_forward = (width * inner + inner) + (inner * width + width)
    norms = 2 * (width + width)  # a scale and a shift each
    return attention + feed_forward + norms


@wrong("you counted the matrices alone; biases and LayerNorms train too")
def block_without_biases(width, inner):
    return 4 * width * width + 2 * width * inner


@wrong("the two LayerNorms are missing: 2 * width numbers each")
def block_without_norms(width, inner):
    return 4 * (width * width + width) + 2 * width * inner + inner + width


@wrong("a block has two LayerNorms, one after each part; you counted one")
def block_with_one_norm(width, inner):
    return block_parameters(width, inner) - 2 * width


@wrong("attention has four matrices: after query, key and value comes the output projection")
def block_without_output(width, inner):
    return block_parameters(width, inner) - (width * width + width)


# 10.3 the loss of one row


def row_loss(logits, label):
    """Cross-entropy of one row in nats: log of the sum of exponentials, minus the logit of the true class."""
    top = logits.max()
    return top + (logits - top).exp().sum().log() - logits[label]


@wrong("right for small logits, nan for large ones: exp overflows; use logsumexp or log_softmax")
def row_loss_that_overflows(logits, label):
    return -(logits.exp() / logits.exp().sum()).log()[label]


@wrong("the minus is missing: this is the log-likelihood, which is never above 0")
def row_loss_without_minus(logits, label):
    return logits.log_softmax(-1)[label]


@wrong("this is one minus the probability; the loss takes the logarithm")
def row_loss_without_log(logits, label):
    return 1 - logits.softmax(-1)[label]


@wrong("this is the loss in bits; nats are asked for, so take the natural logarithm")
def row_loss_in_bits(logits, label):
    return -logits.log_softmax(-1)[label] / torch.tensor(2.0).log()


def row_cases() -> list[tuple]:
    return [
        (torch.tensor([0.0, 0.0]), 1),
        (torch.tensor([2.0, -1.0]), 0),
        (torch.tensor([0.5, 3.0, -2.0]), 2),
        (torch.tensor([200.0, -200.0]), 0),  # exp(200) is inf in fp32
    ]


# 10.4 accuracy by group


def accuracy_by_group(truth, guessed, groups):
    """{group: share of right answers in it}."""
    right, rows = {}, {}
    for true, guess, group in zip(truth, guessed, groups, strict=True):
        rows[group] = rows.get(group, 0) + 1
        right[group] = right.get(group, 0) + (true == guess)
    return {group: right[group] / rows[group] for group in rows}


@wrong("you divided by the number of all rows; divide by the rows of the group")
def share_of_all(truth, guessed, groups):
    return {
        group: sum(t == g and of == group for t, g, of in zip(truth, guessed, groups, strict=True))
        / len(truth)
        for group in groups
    }


@wrong("these are counts of right answers; divide each by the rows of its group")
def right_answers(truth, guessed, groups):
    return {
        group: sum(t == g and of == group for t, g, of in zip(truth, guessed, groups, strict=True))
        for group in groups
    }


@wrong("this is the share of wrong answers; the share of right ones is asked for")
def error_by_group(truth, guessed, groups):
    return {group: 1 - share for group, share in accuracy_by_group(truth, guessed, groups).items()}


@wrong("a group in which nothing is right is missing; its accuracy is 0.0")
def without_empty_groups(truth, guessed, groups):
    return {group: share for group, share in accuracy_by_group(truth, guessed, groups).items() if share > 0}


def group_cases() -> list[tuple]:
    return [
        ([0, 1, 1, 0], [0, 1, 0, 0], ["films", "films", "hotels", "hotels"]),
        ([1, 1, 0, 0, 1], [1, 0, 0, 1, 0], ["a", "b", "a", "c", "a"]),  # nothing right in b and c
        ([2, 0, 1], [2, 0, 1], ["only", "only", "only"]),
    ]


EXERCISES = (
    Exercise(
        number="10.1",
        reference=pool,
        cases=pool_cases,
        hints=(
            "The padding must count neither in the sum nor in the number you divide by.",
            "mask.unsqueeze(-1) has the shape (batch, tokens, 1), so it can be multiplied with hidden.",
            "(hidden * mask.unsqueeze(-1)).sum(1) sums them; mask.sum(1, keepdim=True) counts them.",
        ),
        wrong=(
            pool_with_padding,
            pool_over_tokens,
            pool_first,
            pool_sum,
        ),
    ),
    Exercise(
        number="10.2",
        reference=block_parameters,
        cases=lambda: [(384, 1536), (768, 3072), (12, 20)],
        hints=(
            "List the layers: four in the attention, two in the feed-forward part, two LayerNorms.",
            "A linear layer from n to m holds n * m weights and m biases.",
            "A LayerNorm of a width holds a scale and a shift for each of its numbers: 2 * width.",
        ),
        wrong=(
            block_without_biases,
            block_without_norms,
            block_with_one_norm,
            block_without_output,
        ),
    ),
    Exercise(
        number="10.3",
        reference=row_loss,
        cases=row_cases,
        hints=(
            "The loss is minus the logarithm of the probability of the true class.",
            "-log(exp(z[y]) / sum(exp(z))) is log(sum(exp(z))) - z[y]: no division is left.",
            "Large logits overflow exp: use logits.logsumexp(-1), or subtract the largest logit first.",
        ),
        wrong=(
            row_loss_that_overflows,
            row_loss_without_minus,
            row_loss_without_log,
            row_loss_in_bits,
        ),
    ),
    Exercise(
        number="10.4",
        reference=accuracy_by_group,
        cases=group_cases,
        hints=(
            "Two counts per group: how many rows it has, and how many of them are right.",
            "Go through the three lists together with zip; a dict holds the counts; divide at the end.",
            "rows[group] = rows.get(group, 0) + 1 for every row; add (true == guess) to right[group] alike.",
        ),
        wrong=(
            share_of_all,
            right_answers,
            error_by_group,
            without_empty_groups,
        ),
    ),
)
