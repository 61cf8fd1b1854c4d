"""The exercises of notebook 04: masked attention, the mask, heads out of one product, the count."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..records import Exercise, wrong


def safe_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1)
    return weights.masked_fill(~allowed, 0.0) @ value  # a row of nothing but -inf is nan until here


def visible(lengths: Sequence[int], tokens: int, causal: bool) -> Tensor:
    places = torch.arange(tokens)
    real = places < torch.tensor(lengths)[:, None]  # (batch, tokens): which keys are no padding
    seen = real[:, None, None, :].expand(-1, 1, tokens, -1)
    return seen & (places <= places[:, None]) if causal else seen


def three(x: Tensor, heads: int) -> list[Tensor]:
    batch, tokens, width = x.shape
    parts = x.split(width // 3, dim=-1)
    return [p.view(batch, tokens, heads, width // 3 // heads).transpose(1, 2) for p in parts]


def cost(batch: int, queries: int, keys: int, width: int) -> int:
    asking = 2 * 2 * queries * width**2  # the matrices of the queries and of the output
    read = 2 * 2 * keys * width**2  # those of the keys and the values
    mixing = 2 * 2 * queries * keys * width  # scores and mixtures, all heads together
    return batch * (asking + read + mixing)


def _with(query, key, value, allowed, scale):
    scores = (query @ key.transpose(-1, -2) / scale).masked_fill(~allowed, -math.inf)
    return scores.softmax(-1).masked_fill(~allowed, 0.0) @ value


@wrong("you did not divide the scores: they are divided by √d")
def _unscaled(query, key, value, allowed):
    return _with(query, key, value, allowed, 1.0)


@wrong("you divided by d, not by √d")
def _divided_by_d(query, key, value, allowed):
    return _with(query, key, value, allowed, query.shape[-1])


@wrong(
    "a query that may see nothing still gets nan: softmax over nothing but -inf is 0 / 0; "
    "set the hidden weights to 0 after softmax, too"
)
def _nan(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ value


@wrong(
    "you used a low finite number instead of -inf: a query that may see nothing then takes the "
    "mean of everything that was hidden"
)
def _very_low(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~allowed, -1e9).softmax(-1) @ value


@wrong(
    "you masked after softmax alone: the hidden keys still count in the sum, and rows no longer add up to 1"
)
def _masked_after(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores.softmax(-1) * allowed) @ value


@wrong("you set hidden scores to 0; e to the power 0 is 1, so they still get weight")
def _set_to_zero(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores * allowed).softmax(-1) @ value


@wrong("you took the mask the other way round: True means that a query may see the key")
def _turned(query, key, value, allowed):
    return safe_attention(query, key, value, ~allowed)


@wrong("you took softmax along the queries; the weights of one query add up to 1")
def _over_queries(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-2)
    return weights.masked_fill(~allowed, 0.0) @ value


@wrong("you wrote True where a key is hidden; here True means that it may be seen")
def _padding_hidden(lengths, tokens, causal):
    return ~visible(lengths, tokens, causal)


@wrong("you kept the future and hid the past: query i may see the keys j <= i")
def _future_alone(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False)
    return seen & (places >= places[:, None]) if causal else seen


@wrong("you hid each token from itself: j <= i, not j < i; the first one sees nothing")
def _not_itself(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False)
    return seen & (places < places[:, None]) if causal else seen


@wrong("you hid rows, which are queries; it is the keys, the columns, that are not to be read")
def _queries_hidden(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False).transpose(-1, -2)
    return seen & (places <= places[:, None]) if causal else seen


@wrong("you hid the rows of padding, too: they are then empty, which gives nan; hide columns alone")
def _both_hidden(lengths, tokens, causal):
    seen = visible(lengths, tokens, False)
    return visible(lengths, tokens, causal) & seen.transpose(-1, -2)


@wrong("you ignored `causal`: the future is still visible")
def _never_causal(lengths, tokens, causal):
    return visible(lengths, tokens, False)


@wrong("your mask is (batch, tokens, tokens); a dimension of 1 for the heads comes after the batch")
def _without_heads(lengths, tokens, causal):
    return visible(lengths, tokens, causal)[:, 0]


@wrong(
    "you reshaped straight to (batch, heads, tokens, …): the shape is right, but a head then "
    "holds pieces of different tokens; make (batch, tokens, heads, …), then transpose"
)
def _viewed(x, heads):
    batch, tokens, width = x.shape
    return [p.reshape(batch, heads, tokens, -1) for p in x.split(width // 3, dim=-1)]


@wrong("heads and tokens are still in the old order; transpose(1, 2) is missing")
def _not_turned(x, heads):
    return [q.transpose(1, 2) for q in three(x, heads)]


@wrong(
    "you cut into heads first and each head into three; GPT-2 has all of the query first, then all of the key"
)
def _heads_first(x, heads):
    batch, tokens, width = x.shape
    return list(x.view(batch, tokens, heads, width // heads).transpose(1, 2).chunk(3, dim=-1))


@wrong("you split the width as (…, heads) instead of (heads, …): each head then holds every h-th number")
def _inside_out(x, heads):
    batch, tokens, width = x.shape
    parts = x.split(width // 3, dim=-1)
    return [p.view(batch, tokens, width // 3 // heads, heads).permute(0, 3, 1, 2) for p in parts]


@wrong("you counted multiplications alone; an addition goes with each, so twice")
def _multiplications(batch, queries, keys, width):
    return cost(batch, queries, keys, width) // 2


@wrong("you left out the four matrices; they are most of it while n is below 2d")
def _no_matrices(batch, queries, keys, width):
    return batch * 4 * queries * keys * width


@wrong("you left out W_O: it is the fourth matrix, and has as many rows as the queries")
def _no_output(batch, queries, keys, width):
    return cost(batch, queries, keys, width) - batch * 2 * queries * width**2


@wrong("you counted the scores and not the mixtures: weights times values costs as much")
def _scores_alone(batch, queries, keys, width):
    return cost(batch, queries, keys, width) - batch * 2 * queries * keys * width


@wrong("you took n keys; here m tokens are read, and m may differ from n")
def _self_attention(batch, queries, keys, width):
    return batch * (8 * queries * width**2 + 4 * queries**2 * width)


def _attending() -> list[tuple]:
    draw = torch.Generator().manual_seed(4)
    found = []
    for *outer, n, m, d, dv in ((4, 6, 8, 3), (2, 5, 5, 9, 9), (2, 3, 3, 7, 4, 4)):
        query, key, value = (torch.randn(*outer, *s, generator=draw) for s in ((n, d), (m, d), (m, dv)))
        allowed = torch.rand(*outer, n, m, generator=draw) < 0.6
        allowed[..., 0, :] = False  # the first query may see nothing
        found.append((query, key, value, allowed))
    return found


def _fused() -> list[tuple]:
    draw = torch.Generator().manual_seed(43)
    return [
        (torch.randn(batch, tokens, 3 * width, generator=draw), heads)
        for batch, tokens, width, heads in ((2, 5, 12, 3), (1, 4, 16, 4), (3, 7, 8, 2))
    ]


EXERCISES = (
    Exercise(
        number="04.1",
        reference=safe_attention,
        cases=_attending,
        hints=(
            "Begin with `attention` from above. Which rows become nan, and at which step?",
            "Softmax over a row of nothing but -inf is 0 / 0. After softmax every hidden weight should be 0.",
            "weights.masked_fill(~allowed, 0.0) repairs the empty rows and changes nothing in the others.",
        ),
        wrong=(
            _unscaled,
            _divided_by_d,
            _nan,
            _very_low,
            _masked_after,
            _set_to_zero,
            _turned,
            _over_queries,
        ),
    ),
    Exercise(
        number="04.2",
        reference=visible,
        cases=lambda: [([3, 5], 5, False), ([2, 4, 1], 4, True), ([6, 2], 7, True)],
        hints=(
            "Padding hides columns: a key j of text b is real if j < lengths[b].",
            "torch.arange(tokens) < torch.tensor(lengths)[:, None] is (batch, tokens); [:, None, None, :] "
            "puts it on the columns, and expand repeats it for every query.",
            "Causal: key j may be seen by query i if j <= i, that is places <= places[:, None]. "
            "Both must hold: &.",
        ),
        wrong=(
            _padding_hidden,
            _future_alone,
            _not_itself,
            _queries_hidden,
            _both_hidden,
            _never_causal,
            _without_heads,
        ),
    ),
    Exercise(
        number="04.3",
        reference=three,
        cases=_fused,
        hints=(
            "Cut the last dimension into three thirds first; then make heads of each third as `apart` does.",
            "x.split(width // 3, dim=-1) gives the three; the last dimension of a third is heads × (its "
            "width / heads), in that order.",
            "part.view(batch, tokens, heads, width // 3 // heads).transpose(1, 2)",
        ),
        wrong=(
            _viewed,
            _not_turned,
            _heads_first,
            _inside_out,
        ),
    ),
    Exercise(
        number="04.4",
        reference=cost,
        cases=lambda: [(1, 10, 10, 8), (3, 40, 70, 96), (2, 7, 5, 12)],
        hints=(
            "Six products: four matrices, the scores, the mixtures. Which of them have n rows, which m?",
            "Queries and output: 2·n·d² each. Keys and values: 2·m·d² each. Scores, mixtures: 2·n·m·d each.",
            "Heads do not appear: h products of width d / h cost as much as one of width d.",
        ),
        wrong=(
            _multiplications,
            _no_matrices,
            _no_output,
            _scores_alone,
            _self_attention,
        ),
    ),
)
