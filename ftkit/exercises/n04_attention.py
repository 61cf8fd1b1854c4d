"""The exercises of notebook 04: masked attention, the mask, heads out of one product, the count."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .records import Exercise, Wrong


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


def _unscaled(query, key, value, allowed):
    return _with(query, key, value, allowed, 1.0)


def _divided_by_d(query, key, value, allowed):
    return _with(query, key, value, allowed, query.shape[-1])


def _nan(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ value


def _very_low(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~allowed, -1e9).softmax(-1) @ value


def _masked_after(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores.softmax(-1) * allowed) @ value


def _set_to_zero(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores * allowed).softmax(-1) @ value


def _turned(query, key, value, allowed):
    return safe_attention(query, key, value, ~allowed)


def _over_queries(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-2)
    return weights.masked_fill(~allowed, 0.0) @ value


def _padding_hidden(lengths, tokens, causal):
    return ~visible(lengths, tokens, causal)


def _future_alone(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False)
    return seen & (places >= places[:, None]) if causal else seen


def _not_itself(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False)
    return seen & (places < places[:, None]) if causal else seen


def _queries_hidden(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False).transpose(-1, -2)
    return seen & (places <= places[:, None]) if causal else seen


def _both_hidden(lengths, tokens, causal):
    seen = visible(lengths, tokens, False)
    return visible(lengths, tokens, causal) & seen.transpose(-1, -2)


def _never_causal(lengths, tokens, causal):
    return visible(lengths, tokens, False)


def _without_heads(lengths, tokens, causal):
    return visible(lengths, tokens, causal)[:, 0]


def _viewed(x, heads):
    batch, tokens, width = x.shape
    return [p.reshape(batch, heads, tokens, -1) for p in x.split(width // 3, dim=-1)]


def _not_turned(x, heads):
    return [q.transpose(1, 2) for q in three(x, heads)]


def _heads_first(x, heads):
    batch, tokens, width = x.shape
    return list(x.view(batch, tokens, heads, width // heads).transpose(1, 2).chunk(3, dim=-1))


def _inside_out(x, heads):
    batch, tokens, width = x.shape
    parts = x.split(width // 3, dim=-1)
    return [p.view(batch, tokens, width // 3 // heads, heads).permute(0, 3, 1, 2) for p in parts]


def _multiplications(batch, queries, keys, width):
    return cost(batch, queries, keys, width) // 2


def _no_matrices(batch, queries, keys, width):
    return batch * 4 * queries * keys * width


def _no_output(batch, queries, keys, width):
    return cost(batch, queries, keys, width) - batch * 2 * queries * width**2


def _scores_alone(batch, queries, keys, width):
    return cost(batch, queries, keys, width) - batch * 2 * queries * keys * width


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
            Wrong(_unscaled, "you did not divide the scores: they are divided by √d"),
            Wrong(_divided_by_d, "you divided by d, not by √d"),
            Wrong(
                _nan,
                "a query that may see nothing still gets nan: softmax over nothing but -inf is 0 / 0; "
                "set the hidden weights to 0 after softmax, too",
            ),
            Wrong(
                _very_low,
                "you used a low finite number instead of -inf: a query that may see nothing then takes the "
                "mean of everything that was hidden",
            ),
            Wrong(
                _masked_after,
                "you masked after softmax alone: the hidden keys still count in the sum, and rows no longer "
                "add up to 1",
            ),
            Wrong(
                _set_to_zero,
                "you set hidden scores to 0; e to the power 0 is 1, so they still get weight",
            ),
            Wrong(_turned, "you took the mask the other way round: True means that a query may see the key"),
            Wrong(_over_queries, "you took softmax along the queries; the weights of one query add up to 1"),
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
            Wrong(
                _padding_hidden, "you wrote True where a key is hidden; here True means that it may be seen"
            ),
            Wrong(_future_alone, "you kept the future and hid the past: query i may see the keys j <= i"),
            Wrong(
                _not_itself, "you hid each token from itself: j <= i, not j < i; the first one sees nothing"
            ),
            Wrong(
                _queries_hidden,
                "you hid rows, which are queries; it is the keys, the columns, that are not to be read",
            ),
            Wrong(
                _both_hidden,
                "you hid the rows of padding, too: they are then empty, which gives nan; hide columns alone",
            ),
            Wrong(_never_causal, "you ignored `causal`: the future is still visible"),
            Wrong(
                _without_heads,
                "your mask is (batch, tokens, tokens); a dimension of 1 for the heads comes after the batch",
            ),
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
            Wrong(
                _viewed,
                "you reshaped straight to (batch, heads, tokens, …): the shape is right, but a head then "
                "holds pieces of different tokens; make (batch, tokens, heads, …), then transpose",
            ),
            Wrong(_not_turned, "heads and tokens are still in the old order; transpose(1, 2) is missing"),
            Wrong(
                _heads_first,
                "you cut into heads first and each head into three; GPT-2 has all of the query first, then "
                "all of the key",
            ),
            Wrong(
                _inside_out,
                "you split the width as (…, heads) instead of (heads, …): each head then holds every h-th "
                "number",
            ),
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
            Wrong(
                _multiplications, "you counted multiplications alone; an addition goes with each, so twice"
            ),
            Wrong(_no_matrices, "you left out the four matrices; they are most of it while n is below 2d"),
            Wrong(
                _no_output, "you left out W_O: it is the fourth matrix, and has as many rows as the queries"
            ),
            Wrong(
                _scores_alone,
                "you counted the scores and not the mixtures: weights times values costs as much",
            ),
            Wrong(_self_attention, "you took n keys; here m tokens are read, and m may differ from n"),
        ),
    ),
)
