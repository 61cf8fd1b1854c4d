"""The exercises of notebook 17: attention with a prefix, the prefix's share, counting, a file's layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..records import Exercise, wrong


def attend(query: Tensor, key: Tensor, value: Tensor, prefix_key: Tensor, prefix_value: Tensor) -> Tensor:
    tokens, width = query.shape[-2:]
    keys = torch.cat([prefix_key, key], dim=-2)  # (heads, length + tokens, width)
    values = torch.cat([prefix_value, value], dim=-2)
    scores = query @ keys.transpose(-1, -2) / math.sqrt(width)  # (heads, tokens, length + tokens)
    future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    hidden = torch.cat([torch.zeros(tokens, prefix_key.shape[-2], dtype=torch.bool), future], dim=1)
    return scores.masked_fill(hidden, -math.inf).softmax(-1) @ values


def prefix_share(query: Tensor, key: Tensor, prefix_key: Tensor) -> Tensor:
    scale = math.sqrt(query.shape[-1])
    to_prefix = (query @ prefix_key.T / scale).exp().sum(-1)  # (tokens,)
    to_text = (query @ key.T / scale).exp().sum(-1)
    return to_prefix / (to_prefix + to_text)


def trained(layers: int, length: int, width: int, hidden: int | None) -> int:
    numbers = 2 * layers * width  # keys and values at one place, in all layers
    if hidden is None:
        return length * numbers
    first, second = width * hidden + hidden, hidden * numbers + numbers  # weights and biases
    return length * width + first + second


def unfold(flat: Tensor, layers: int, heads: int) -> Tensor:
    length = len(flat)
    return flat.view(length, layers, 2, heads, -1).permute(1, 2, 3, 0, 4)


@wrong("you did not divide the scores by the root of the width")
def _unscaled(query, key, value, prefix_key, prefix_value):
    return attend(query * math.sqrt(query.shape[-1]), key, value, prefix_key, prefix_value)


@wrong(
    "your causal mask begins at the first prefix column: the first token sees one place of the "
    "prefix and not itself; the triangle belongs over the text's columns"
)
def _prefix_in_the_mask(query, key, value, prefix_key, prefix_value):
    keys, values = torch.cat([prefix_key, key], dim=-2), torch.cat([prefix_value, value], dim=-2)
    scores = query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -math.inf).softmax(-1) @ values


@wrong("you hid nothing: every token sees the future of the text")
def _no_mask(query, key, value, prefix_key, prefix_value):
    keys, values = torch.cat([prefix_key, key], dim=-2), torch.cat([prefix_value, value], dim=-2)
    return (query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1) @ values


@wrong("you took the prefix's values for its keys; nothing complains, the shapes agree")
def _swapped(query, key, value, prefix_key, prefix_value):
    return attend(query, key, value, prefix_value, prefix_key)


@wrong("you added two attentions; there is one softmax, over prefix and text together")
def _added(query, key, value, prefix_key, prefix_value):
    text = attend(query, key, value, prefix_key[..., :0, :], prefix_value[..., :0, :])
    to_prefix = query @ prefix_key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return text + to_prefix.softmax(-1) @ prefix_value


@wrong("you left the prefix out: this is attention over the text alone")
def _text_alone(query, key, value, prefix_key, prefix_value):
    return attend(query, key, value, prefix_key[..., :0, :], prefix_value[..., :0, :])


@wrong("you did not divide the scores by the root of the width")
def _share_unscaled(query, key, prefix_key):
    return prefix_share(query * math.sqrt(query.shape[-1]), key, prefix_key)


@wrong("that is the text's share; the prefix has the rest")
def _of_the_text(query, key, prefix_key):
    return 1 - prefix_share(query, key, prefix_key)


@wrong("you divided by the text's part; divide by the sum of both")
def _ratio(query, key, prefix_key):
    share = prefix_share(query, key, prefix_key)
    return share / (1 - share)


@wrong("you counted places; a share of attention depends on the scores")
def _by_count(query, key, prefix_key):
    return torch.full((len(query),), len(prefix_key) / (len(prefix_key) + len(key)))


@wrong("you summed the scores; the softmax sums their exponentials")
def _scores_summed(query, key, prefix_key):
    to_prefix, to_text = (query @ prefix_key.T).sum(-1), (query @ key.T).sum(-1)
    return to_prefix / (to_prefix + to_text)


@wrong("you counted keys or values; a prefix has both")
def _keys_alone(layers, length, width, hidden):
    return (
        trained(layers, length, width, hidden) // 2 if hidden is None else trained(layers, length, width, 1)
    )


@wrong("you counted one layer; every layer has a prefix of its own")
def _one_layer(layers, length, width, hidden):
    return trained(1, length, width, hidden)


@wrong("you left out the biases of the two layers of the MLP")
def _no_biases(layers, length, width, hidden):
    if hidden is None:
        return trained(layers, length, width, None)
    return length * width + width * hidden + hidden * 2 * layers * width


@wrong("you left out what the MLP reads: a vector of `width` numbers per place")
def _network_alone(layers, length, width, hidden):
    return trained(layers, length, width, hidden) - (0 if hidden is None else length * width)


@wrong("you counted the prefix beside its MLP; with an MLP the prefix is computed")
def _both(layers, length, width, hidden):
    plain = trained(layers, length, width, None)
    return plain if hidden is None else plain + trained(layers, length, width, hidden)


@wrong("you counted the prefix; with `hidden` it is the MLP that trains")
def _network_ignored(layers, length, width, hidden):
    return trained(layers, length, width, None)


@wrong(
    "you read the numbers into the final shape directly; a row is a place, so the place comes "
    "first and moves afterwards"
)
def _straight(flat, layers, heads):
    return flat.reshape(layers, 2, heads, len(flat), -1)


@wrong("you put the values first; in a layer the key comes before the value")
def _values_first(flat, layers, heads):
    return unfold(flat, layers, heads).flip(1)


@wrong("you took keys of all layers, then values; it goes layer by layer")
def _two_first(flat, layers, heads):
    return flat.view(len(flat), 2, layers, heads, -1).permute(2, 1, 3, 0, 4)


@wrong("you split the width before the heads; a head's numbers lie side by side")
def _heads_inside(flat, layers, heads):
    return flat.view(len(flat), layers, 2, -1, heads).permute(1, 2, 4, 0, 3)


@wrong("you left the places in front; the cache wants (layers, 2, heads, length, head width)")
def _places_first(flat, layers, heads):
    return flat.view(len(flat), layers, 2, heads, -1)


def _layers() -> list[tuple]:
    draw = torch.Generator().manual_seed(17)
    found = []
    for heads, tokens, length, width in ((2, 4, 3, 4), (1, 5, 2, 9), (3, 2, 4, 4)):
        text = [torch.randn(heads, tokens, width, generator=draw) for _ in range(3)]
        found.append((*text, *(torch.randn(heads, length, width, generator=draw) for _ in range(2))))
    return found


def _queries() -> list[tuple]:
    draw = torch.Generator().manual_seed(71)
    return [
        tuple(torch.randn(count, width, generator=draw) for count in (3, tokens, length))
        for tokens, length, width in ((4, 2, 4), (2, 5, 9), (6, 1, 16))
    ]


def _flat() -> list[tuple]:
    draw = torch.Generator().manual_seed(177)
    return [
        (torch.randn(length, layers * 2 * heads * width, generator=draw), layers, heads)
        for length, layers, heads, width in ((3, 2, 4, 5), (2, 3, 2, 3), (5, 4, 1, 2))
    ]


EXERCISES = (
    Exercise(
        number="17.1",
        reference=attend,
        cases=_layers,
        hints=(
            "Keys and values get longer, queries do not. Which of the new columns may a token look at?",
            "Concatenate on dim=-2, divide the scores by the root of the width, and hide the future "
            "of the text alone: the prefix lies in everybody's past.",
            "The part of the mask over the text is ones(tokens, tokens).triu(1); before it stand `length` "
            "columns of False. Then softmax over the last dimension, times the values.",
        ),
        wrong=(
            _unscaled,
            _prefix_in_the_mask,
            _no_mask,
            _swapped,
            _added,
            _text_alone,
        ),
    ),
    Exercise(
        number="17.2",
        reference=prefix_share,
        cases=_queries,
        hints=(
            "The softmax divides by one sum over all places. Which part of that sum belongs to the prefix?",
            "Sum the exponentials of the scores over the prefix, and over the text; scores are divided by "
            "the root of the width.",
            "to_prefix / (to_prefix + to_text); to_prefix = (query @ prefix_key.T / scale).exp().sum(-1)",
        ),
        wrong=(
            _share_unscaled,
            _of_the_text,
            _ratio,
            _by_count,
            _scores_summed,
        ),
    ),
    Exercise(
        number="17.3",
        reference=trained,
        cases=lambda: [(4, 8, 128, None), (6, 16, 384, None), (4, 8, 128, 32), (2, 3, 10, 7)],
        hints=(
            "At every place and in every layer there are a key and a value, `width` numbers each.",
            "With an MLP: a vector of `width` numbers per place, a layer width -> hidden and one "
            "hidden -> 2 * layers * width, both with biases.",
            "length * 2 * layers * width; or length * width + (width * hidden + hidden) "
            "+ (hidden * numbers + numbers), where numbers = 2 * layers * width",
        ),
        wrong=(
            _keys_alone,
            _one_layer,
            _no_biases,
            _network_alone,
            _both,
            _network_ignored,
        ),
    ),
    Exercise(
        number="17.4",
        reference=unfold,
        cases=_flat,
        hints=(
            "A row of the file is one place: layer after layer, in each first the key and then the value, "
            "in each head after head.",
            "First flat.view(length, layers, 2, heads, -1), then bring the dimensions into the order asked.",
            "flat.view(length, layers, 2, heads, -1).permute(1, 2, 3, 0, 4)",
        ),
        wrong=(
            _straight,
            _values_first,
            _two_first,
            _heads_inside,
            _places_first,
        ),
    ),
)
