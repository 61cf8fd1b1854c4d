"""The exercises of notebook 04: attention, the mask, attention without nan, heads, the count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..records import Exercise, wrong


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.softmax(-1) @ value


def visible(lengths: Sequence[int], tokens: int, causal: bool) -> Tensor:
    places = torch.arange(tokens)
    real = places < torch.tensor(lengths)[:, None]  # (batch, tokens): which keys are no padding
    seen = real[:, None, None, :].expand(-1, 1, tokens, -1)
    return seen & (places <= places[:, None]) if causal else seen


def safe_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1)
    return weights.masked_fill(~allowed, 0.0) @ value  # a row of nothing but -inf is nan until here


def three(x: Tensor, heads: int) -> list[Tensor]:
    batch, tokens, width = x.shape
    parts = x.split(width // 3, dim=-1)
    return [p.view(batch, tokens, heads, width // 3 // heads).transpose(1, 2) for p in parts]


def cost(batch: int, queries: int, keys: int, width: int) -> int:
    asking = 2 * 2 * queries * width**2  # the matrices of the queries and of the output
    read = 2 * 2 * keys * width**2  # those of the keys and the values
    mixing = 2 * 2 * queries * keys * width  # scores and mixtures, all heads together
    return batch * (asking + read + mixing)


# 04.1


def _with_scale(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return (query @ key.transpose(-1, -2) / scale).softmax(-1) @ value


@wrong("you did not divide the scores: they are divided by √d")
def _not_divided(query, key, value):
    return _with_scale(query, key, value, 1.0)


@wrong("you divided by d, not by √d")
def _by_d(query, key, value):
    return _with_scale(query, key, value, query.shape[-1])


@wrong("you multiplied the scores by √d; they are divided by it")
def _multiplied(query, key, value):
    return _with_scale(query, key, value, 1 / math.sqrt(query.shape[-1]))


@wrong("you took the root of how many keys there are; d is how many numbers a query has: query.shape[-1]")
def _by_keys(query, key, value):
    return _with_scale(query, key, value, math.sqrt(key.shape[-2]))


@wrong("you took the root of the width of the values; d is the width of queries and keys: query.shape[-1]")
def _by_value_width(query, key, value):
    return _with_scale(query, key, value, math.sqrt(value.shape[-1]))


@wrong("you divided by √4, as on paper; d is another here: query.shape[-1]")
def _by_two(query, key, value):
    return _with_scale(query, key, value, 2.0)


@wrong("you divided after softmax; the scores are divided before it")
def _divided_late(query, key, value):
    return (query @ key.transpose(-1, -2)).softmax(-1) / math.sqrt(query.shape[-1]) @ value


@wrong("softmax(1) is the last dimension of a matrix, but not of a batch; count from the back: softmax(-1)")
def _from_the_front(query, key, value):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.softmax(1) @ value


@wrong(
    "right for one matrix, not with a batch in front: key.transpose(-1, -2) and @ work on the last two "
    "dimensions; key.T, transpose(0, 1), torch.mm and a loop over rows do not"
)
def _all_turned(query, key, value):
    scores = query @ key.permute(*reversed(range(key.dim()))) / math.sqrt(query.shape[-1])
    return scores.softmax(-1) @ value


@wrong("you took softmax along the queries; the weights of one query add up to 1: softmax(-1)")
def _along_queries(query, key, value):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.softmax(-2) @ value


@wrong("you mixed the values with the scores; softmax turns the scores into weights first")
def _without_softmax(query, key, value):
    return query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) @ value


@wrong("you gave the weights back; the outputs are weights @ value")
def _weights_alone(query, key, value):
    return (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)


@wrong("you gave every key the same weight: that is the mean, the baseline")
def _mean(query, key, value):
    return value.mean(-2, keepdim=True).expand(*query.shape[:-1], -1)


@wrong("the sums lost their dimension, so a row was divided by other rows' sums: sum(-1, keepdim=True)")
def _sums_flat(query, key, value):
    powers = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).exp()
    return powers / powers.sum(-1) @ value


@wrong("you mixed the keys; the outputs are mixtures of the values: weights @ value")
def _keys_mixed(query, key, value):
    return attend(query, key, key)


@wrong("you gave outputs and weights back; only the outputs are asked for")
def _with_weights(query, key, value):
    return attend(query, key, value), _weights_alone(query, key, value)


# 04.2


@wrong("this is the mask that is added, 0 and -inf; the exercise asks for True and False")
def _added(lengths, tokens, causal):
    return torch.zeros(()).masked_fill(~visible(lengths, tokens, causal), -math.inf)


@wrong("you wrote True where a key is hidden; here True means that it may be read")
def _padding_hidden(lengths, tokens, causal):
    return ~visible(lengths, tokens, causal)


@wrong("you kept the future and hid the past: query i may read the keys j <= i")
def _future_alone(lengths, tokens, causal):
    places = torch.arange(tokens)
    seen = visible(lengths, tokens, False)
    return seen & (places >= places[:, None]) if causal else seen


@wrong("you hid each token from itself: j <= i, not j < i; the first one reads nothing")
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


@wrong("you ignored the lengths: padding is still visible")
def _never_padding(lengths, tokens, causal):
    return visible([tokens] * len(lengths), tokens, causal)


@wrong("your mask is (batch, tokens, tokens); a dimension of 1 for the heads comes after the batch")
def _without_heads(lengths, tokens, causal):
    return visible(lengths, tokens, causal)[:, 0]


@wrong(
    "one row is there for all queries: that would spread by itself, but the exercise asks for "
    "(batch, 1, tokens, tokens); expand it"
)
def _one_row(lengths, tokens, causal):
    return visible(lengths, tokens, True) if causal else visible(lengths, tokens, False)[:, :, :1]


@wrong("one key too many: a text of length 3 has the tokens 0, 1 and 2, so j < length, not <=")
def _one_too_many(lengths, tokens, causal):
    return visible([length + 1 for length in lengths], tokens, causal)


@wrong("you hid the future even without `causal`")
def _always_causal(lengths, tokens, causal):
    return visible(lengths, tokens, True)


@wrong("you joined the two conditions with | (or); both must hold, a real key and no future one: &")
def _either(lengths, tokens, causal):
    seen = visible(lengths, tokens, False)
    return seen | visible([tokens] * len(lengths), tokens, True) if causal else seen


# 04.3


def _masked(query, key, value, allowed, scale) -> Tensor:
    scores = (query @ key.transpose(-1, -2) / scale).masked_fill(~allowed, -math.inf)
    return scores.softmax(-1).masked_fill(~allowed, 0.0) @ value


@wrong("you did not divide the scores: they are divided by √d")
def _unscaled(query, key, value, allowed):
    return _masked(query, key, value, allowed, 1.0)


@wrong("you divided by d, not by √d")
def _divided_by_d(query, key, value, allowed):
    return _masked(query, key, value, allowed, query.shape[-1])


@wrong("you did not use the mask")
def _unmasked(query, key, value, allowed):
    return attend(query, key, value)


@wrong(
    "a query that may read nothing still gets nan: softmax over nothing but -inf is 0 / 0; "
    "set the hidden weights to 0 after softmax, too"
)
def _nan(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ value


@wrong(
    "you used a low finite number instead of -inf: a query that may read nothing then takes the "
    "mean of everything that was hidden"
)
def _very_low(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~allowed, -1e9).softmax(-1) @ value


@wrong("you added True and False as 1 and 0: nothing is hidden by that; hidden scores become -inf")
def _mask_added(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores + allowed).softmax(-1) @ value


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


@wrong("you took the mask the other way round: True means that a query may read the key")
def _turned(query, key, value, allowed):
    return safe_attention(query, key, value, ~allowed)


@wrong("you took softmax along the queries; the weights of one query add up to 1")
def _over_queries(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-2)
    return weights.masked_fill(~allowed, 0.0) @ value


@wrong("-inf times 0 is nan, so every score became nan; use masked_fill or torch.where")
def _times_inf(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores + ~allowed * -math.inf).softmax(-1) @ value


@wrong("you gave outputs and weights back, as `attention` does; only the outputs are asked for")
def _outputs_and_weights(query, key, value, allowed):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1).masked_fill(~allowed, 0.0)
    return weights @ value, weights


# 04.4


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


@wrong("you cut into query, key and value, but not into heads")
def _no_heads(x, heads):
    return list(x.chunk(3, dim=-1))


@wrong("the three are in another order; GPT-2 has query, key, value")
def _reordered(x, heads):
    q, k, v = three(x, heads)
    return [k, q, v]


# 04.5


@wrong("you counted multiplications alone; an addition goes with each, so twice")
def _multiplications(batch, queries, keys, width):
    return cost(batch, queries, keys, width) // 2


@wrong("you counted one text; the batch multiplies everything")
def _one_text(batch, queries, keys, width):
    return cost(1, queries, keys, width)


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


@wrong("all four matrices with n rows: keys and values are made of the m tokens that are read")
def _all_rows_n(batch, queries, keys, width):
    return batch * (8 * queries * width**2 + 4 * queries * keys * width)


@wrong("W_O works on the outputs, one for each query: it has n rows, not m")
def _output_of_m(batch, queries, keys, width):
    return batch * (2 * queries * width**2 + 6 * keys * width**2 + 4 * queries * keys * width)


def _drawn(draw: torch.Generator, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    *outer, n, m, d, dv = shape
    return tuple(torch.randn(*outer, *s, generator=draw) for s in ((n, d), (m, d), (m, dv)))


def _plain() -> list[tuple]:
    draw = torch.Generator().manual_seed(4)
    return [
        _drawn(draw, shape) for shape in ((3, 3, 5, 2), (4, 6, 8, 3), (2, 5, 5, 9, 9), (2, 3, 3, 7, 4, 6))
    ]


def _attending() -> list[tuple]:
    """The first case has no empty row, so that a wrong scale or mask shows before nan does."""
    draw, found = torch.Generator().manual_seed(4), []
    for *outer, n, m, d, dv in ((4, 6, 8, 3), (4, 6, 8, 3), (2, 5, 5, 9, 9), (2, 3, 3, 7, 4, 4)):
        query, key, value = _drawn(draw, (*outer, n, m, d, dv))
        allowed = torch.rand(*outer, n, m, generator=draw) < 0.6
        if found:
            allowed[..., 0, :] = False  # the first query may read nothing
        else:
            allowed[:, 0] = True
        found.append((query, key, value, allowed))
    return found


def _fused() -> list[tuple]:
    draw = torch.Generator().manual_seed(43)
    return [
        (torch.randn(batch, tokens, 3 * width, generator=draw), heads)
        for batch, tokens, width, heads in ((2, 5, 12, 3), (1, 4, 16, 4), (3, 7, 8, 2))
    ]


def _one_by_one(answer: Callable, case: tuple) -> Any:
    """A tensor of all three, stacked, is as right as a list: it unpacks into q, k, v."""
    found = answer(*case)
    return list(found) if isinstance(found, Tensor) and found.dim() == 5 else found


EXERCISES = (
    Exercise(
        number="04.1",
        reference=attend,
        cases=_plain,
        hints=(
            "Which of the three lines above counts dimensions from the front, or knows that d is 4?",
            "keys.T turns a matrix; with a batch in front, transpose(-1, -2) turns the last two dimensions.",
            "scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]); then softmax(-1), then "
            "@ value.",
        ),
        wrong=(
            _not_divided,
            _by_d,
            _multiplied,
            _by_keys,
            _by_value_width,
            _by_two,
            _divided_late,
            _from_the_front,
            _all_turned,
            _along_queries,
            _without_softmax,
            _weights_alone,
            _mean,
            _sums_flat,
            _keys_mixed,
            _with_weights,
        ),
        banned=("scaled_dot_product_attention", "MultiheadAttention"),
    ),
    Exercise(
        number="04.2",
        reference=visible,
        cases=lambda: [([3, 5], 5, False), ([4, 4], 4, True), ([2, 4, 1], 4, True), ([6, 2], 7, True)],
        hints=(
            "Padding hides columns: when is a key j of text b real?",
            "torch.arange(tokens) < torch.tensor(lengths)[:, None] is (batch, tokens); [:, None, None, :] "
            "puts it on the columns, and expand repeats it for every query.",
            "Causal: key j may be read by query i if j <= i, that is places <= places[:, None]. "
            "Both must hold: &.",
        ),
        wrong=(
            _added,
            _padding_hidden,
            _future_alone,
            _not_itself,
            _queries_hidden,
            _both_hidden,
            _never_causal,
            _never_padding,
            _without_heads,
            _one_row,
            _one_too_many,
            _always_causal,
            _either,
        ),
        exact=True,  # a mask of whole numbers would be added, or turned round by ~ into -1 and -2
    ),
    Exercise(
        number="04.3",
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
            _unmasked,
            _nan,
            _very_low,
            _mask_added,
            _masked_after,
            _set_to_zero,
            _turned,
            _over_queries,
            _times_inf,
            _outputs_and_weights,
        ),
        banned=("scaled_dot_product_attention", "MultiheadAttention"),
    ),
    Exercise(
        number="04.4",
        reference=three,
        cases=_fused,
        use=_one_by_one,
        hints=(
            "Where does the query end in the last dimension? Cut there first; heads come second.",
            "x.split(width // 3, dim=-1) gives the three; the last dimension of a third is heads × (its "
            "width / heads), in that order.",
            "part.view(batch, tokens, heads, width // 3 // heads).transpose(1, 2)",
        ),
        wrong=(
            _viewed,
            _not_turned,
            _heads_first,
            _inside_out,
            _no_heads,
            _reordered,
        ),
    ),
    Exercise(
        number="04.5",
        reference=cost,
        cases=lambda: [(1, 10, 10, 8), (1, 5, 9, 8), (3, 40, 70, 96), (2, 7, 5, 12)],
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
            _all_rows_n,
            _output_of_m,
            _one_text,
        ),
    ),
)
