"""The exercises of notebook 05: LayerNorm, the feed-forward layer, a pre-LN block, counting parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import gelu

from ..records import Exercise, wrong

Part = Callable[[Tensor], Tensor]


def normalised(x: Tensor, gain: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    away = x - x.mean(-1, keepdim=True)
    variance = away.square().mean(-1, keepdim=True)  # divided by d, not by d - 1
    return gain * away / (variance + epsilon).sqrt() + shift


def feed_forward(
    x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor, approximate: bool
) -> Tensor:
    inner = gelu(x @ up.T + up_bias, approximate="tanh" if approximate else "none")  # (..., f)
    return inner @ down.T + down_bias


def pre_block(x: Tensor, norm_1: Part, attend: Part, norm_2: Part, feed: Part) -> Tensor:
    x = x + attend(norm_1(x))
    return x + feed(norm_2(x))


def parameters(width: int, inner: int, blocks: int, vocabulary: int, positions: int, segments: int) -> int:
    tables = (vocabulary + positions + segments) * width
    attention = 4 * (width**2 + width)
    feed = width * inner + inner + inner * width + width
    norm = 2 * width
    return tables + blocks * (attention + feed + 2 * norm) + norm  # the output layer is the table of words


@wrong("you divided the variance by d - 1 (torch's default); LayerNorm divides by d")
def _bessel(x, gain, shift, epsilon):
    return gain * (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + epsilon).sqrt() + shift


@wrong("you added ε to the root; it belongs under it: sqrt(variance + ε)")
def _epsilon_outside(x, gain, shift, epsilon):
    return gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True, correction=0) + epsilon) + shift


@wrong("you left ε out: a constant vector then gives nan")
def _no_epsilon(x, gain, shift, epsilon):
    return gain * (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, correction=0) + shift


@wrong("you divided by the variance; divide by its root")
def _no_root(x, gain, shift, epsilon):
    variance = x.var(-1, keepdim=True, correction=0)
    return gain * (x - x.mean(-1, keepdim=True)) / (variance + epsilon) + shift


@wrong("you took the mean over the tokens; it goes over the last dimension")
def _over_tokens(x, gain, shift, epsilon):
    variance = x.var(-2, keepdim=True, correction=0)
    return gain * (x - x.mean(-2, keepdim=True)) / (variance + epsilon).sqrt() + shift


@wrong("you took one mean of the whole tensor; every token has its own")
def _over_everything(x, gain, shift, epsilon):
    return gain * (x - x.mean()) / (x.var(correction=0) + epsilon).sqrt() + shift


@wrong("you did not subtract the mean; that is RMSNorm, which Llama uses")
def _mean_kept(x, gain, shift, epsilon):
    return gain * x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() + shift


@wrong("you left out gain and shift, the learned part")
def _no_gain(x, gain, shift, epsilon):
    return normalised(x, torch.ones_like(gain), torch.zeros_like(shift), epsilon)


@wrong("you bent with ReLU; BERT and GPT-2 use GELU")
def _relu(x, up, up_bias, down, down_bias, approximate):
    return torch.relu(x @ up.T + up_bias) @ down.T + down_bias


@wrong("you took the exact GELU always; with `approximate` it is the tanh version")
def _always_exact(x, up, up_bias, down, down_bias, approximate):
    return feed_forward(x, up, up_bias, down, down_bias, False)


@wrong("you took the tanh version always; it is for `approximate` alone")
def _always_tanh(x, up, up_bias, down, down_bias, approximate):
    return feed_forward(x, up, up_bias, down, down_bias, True)


@wrong("you took the two versions the wrong way round")
def _other_way_round(x, up, up_bias, down, down_bias, approximate):
    return feed_forward(x, up, up_bias, down, down_bias, not approximate)


@wrong("you took x · sigmoid(1.702 x), a third and coarser version")
def _sigmoid(x, up, up_bias, down, down_bias, approximate):
    inner = x @ up.T + up_bias
    return (inner * torch.sigmoid(1.702 * inner)) @ down.T + down_bias


@wrong("you left the bend out: two matrices in a row are one matrix")
def _straight(x, up, up_bias, down, down_bias, approximate):
    return (x @ up.T + up_bias) @ down.T + down_bias


@wrong("you left the biases out")
def _no_biases(x, up, up_bias, down, down_bias, approximate):
    return gelu(x @ up.T, approximate="tanh" if approximate else "none") @ down.T


@wrong("you added x: the residual is the block's, not the feed-forward layer's")
def _with_residual(x, up, up_bias, down, down_bias, approximate):
    return x + feed_forward(x, up, up_bias, down, down_bias, approximate)


@wrong("you normalised after the sum: that is BERT's post-LN")
def _post(x, norm_1, attend, norm_2, feed):
    x = norm_1(x + attend(x))
    return norm_2(x + feed(x))


@wrong("you left out both residuals: x + is missing before each part")
def _no_residuals(x, norm_1, attend, norm_2, feed):
    return feed(norm_2(attend(norm_1(x))))


@wrong("you left out the residual around attention")
def _first_residual_missing(x, norm_1, attend, norm_2, feed):
    x = attend(norm_1(x))
    return x + feed(norm_2(x))


@wrong("you left out the residual around the feed-forward layer")
def _second_residual_missing(x, norm_1, attend, norm_2, feed):
    return feed(norm_2(x + attend(norm_1(x))))


@wrong("you added to the normalised x; add to x itself")
def _normalised_passed_on(x, norm_1, attend, norm_2, feed):
    x = norm_1(x)
    x = x + attend(x)
    x = norm_2(x)
    return x + feed(x)


@wrong("you let both parts read the same x; feed reads the sum")
def _side_by_side(x, norm_1, attend, norm_2, feed):
    return x + attend(norm_1(x)) + feed(norm_2(x))


@wrong("you swapped the two norms; norm_1 belongs to attention")
def _norms_swapped(x, norm_1, attend, norm_2, feed):
    return pre_block(x, norm_2, attend, norm_1, feed)


@wrong("you left out the biases of the linear layers")
def _matrices_alone(width, inner, blocks, vocabulary, positions, segments):
    tables = (vocabulary + positions + segments) * width
    return tables + blocks * (4 * width**2 + 2 * width * inner + 4 * width) + 2 * width


@wrong("you counted query, key and value; the output is a fourth matrix")
def _three_matrices(width, inner, blocks, vocabulary, positions, segments):
    return parameters(width, inner, blocks, vocabulary, positions, segments) - blocks * (width**2 + width)


@wrong("you counted the LayerNorms' gain alone; each has a shift as well")
def _norms_without_shift(width, inner, blocks, vocabulary, positions, segments):
    return parameters(width, inner, blocks, vocabulary, positions, segments) - (2 * blocks + 1) * width


@wrong("you left out the LayerNorm that stands outside of the blocks")
def _outer_norm_missing(width, inner, blocks, vocabulary, positions, segments):
    return parameters(width, inner, blocks, vocabulary, positions, segments) - 2 * width


@wrong("you counted the output layer; tied, it is the table of words")
def _output_counted_again(width, inner, blocks, vocabulary, positions, segments):
    return parameters(width, inner, blocks, vocabulary, positions, segments) + vocabulary * width


@wrong("you counted the table of words alone; places and segments have tables, too")
def _no_places(width, inner, blocks, vocabulary, positions, segments):
    return parameters(width, inner, blocks, vocabulary, 0, 0)


def _vectors() -> list[tuple]:
    draw = torch.Generator().manual_seed(5)
    found = []
    for shape, epsilon in (((2, 3, 6), 1e-5), ((4, 5), 0.1)):
        gain, shift = torch.randn(2, shape[-1], generator=draw)
        found.append((3 * torch.randn(*shape, generator=draw) + 1, gain, shift, epsilon))
    flat = torch.full((2, 4), 0.5)
    return [*found, (flat, torch.ones(4), torch.arange(4.0), 1e-5)]


def _layers() -> list[tuple]:
    draw = torch.Generator().manual_seed(6)
    found = []
    for shape, d, f, approximate in (((3,), 6, 10, False), ((2, 4), 5, 20, True), ((2,), 8, 8, True)):
        x = 2 * torch.randn(*shape, d, generator=draw)
        up, down = torch.randn(f, d, generator=draw), torch.randn(d, f, generator=draw)
        biases = torch.randn(f, generator=draw), torch.randn(d, generator=draw)
        found.append((x, up, biases[0], down, biases[1], approximate))
    return found


def _parts() -> list[tuple]:
    found = []
    for seed, d in ((7, 4), (8, 6)):
        draw = torch.Generator().manual_seed(seed)
        mix, bend = torch.randn(3, 3, generator=draw), torch.randn(d, d, generator=draw)
        gains = torch.rand(2, d, generator=draw) + 0.5
        zero = torch.zeros(d)
        found.append(
            (
                2 * torch.randn(3, d, generator=draw),
                lambda x, gain=gains[0], zero=zero: normalised(x, gain, zero, 1e-5),
                lambda x, mix=mix: mix.softmax(-1) @ x,
                lambda x, gain=gains[1], zero=zero: normalised(x, gain, zero, 1e-5),
                lambda x, bend=bend: torch.tanh(x @ bend),
            )
        )
    return found


EXERCISES = (
    Exercise(
        number="05.1",
        reference=normalised,
        cases=_vectors,
        hints=(
            "Every token by itself: mean and variance over the last dimension, kept so that they broadcast.",
            "The variance is the mean of the squared distances from the mean; torch's var divides by d - 1.",
            "ε is added to the variance, and then the root is taken; gain and shift come last.",
        ),
        wrong=(
            _bessel,
            _epsilon_outside,
            _no_epsilon,
            _no_root,
            _over_tokens,
            _over_everything,
            _mean_kept,
            _no_gain,
        ),
    ),
    Exercise(
        number="05.2",
        reference=feed_forward,
        cases=_layers,
        hints=(
            "Up, bend, down. The weights are stored as (out, in): what has to happen to them beside x?",
            "x @ up.T + up_bias is (..., f). torch.nn.functional.gelu has an argument `approximate`.",
            'gelu(…, approximate="tanh" if approximate else "none"), then @ down.T + down_bias',
        ),
        wrong=(
            _relu,
            _always_exact,
            _always_tanh,
            _other_way_round,
            _sigmoid,
            _straight,
            _no_biases,
            _with_residual,
        ),
    ),
    Exercise(
        number="05.3",
        reference=pre_block,
        cases=_parts,
        hints=(
            "x is only ever added to. What is added is computed from a normalised copy of it.",
            "The second part reads what the first has left: x + attend(norm_1(x)).",
            "x = x + attend(norm_1(x)), and the same once more with norm_2 and feed.",
        ),
        wrong=(
            _post,
            _no_residuals,
            _first_residual_missing,
            _second_residual_missing,
            _normalised_passed_on,
            _side_by_side,
            _norms_swapped,
        ),
    ),
    Exercise(
        number="05.4",
        reference=parameters,
        cases=lambda: [
            (4, 10, 2, 7, 5, 2),
            (8, 32, 3, 50, 16, 0),
            (768, 3072, 12, 30522, 512, 2),
        ],
        hints=(
            "Three tables, blocks, one LayerNorm. A table has as many numbers as rows times width.",
            "A linear layer has in * out + out numbers; a LayerNorm has a gain and a shift: 2 * width.",
            "Per block: 4 * (width² + width) for attention, 2 * width * inner + inner + width for the "
            "feed-forward layer, and two LayerNorms.",
        ),
        wrong=(
            _matrices_alone,
            _three_matrices,
            _norms_without_shift,
            _outer_norm_missing,
            _output_counted_again,
            _no_places,
        ),
    ),
)
