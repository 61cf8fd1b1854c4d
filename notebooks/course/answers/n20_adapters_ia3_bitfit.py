"""The exercises of notebook 20: the bottleneck, what each method trains, and merging IA3's factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu

from ..records import Exercise, wrong


def bottleneck(h: Tensor, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor) -> Tensor:
    inner = gelu(h @ down.T + down_bias)  # (..., size)
    return h + inner @ up.T + up_bias  # h itself passes by


def trained(width: int, hidden: int, blocks: int, size: int) -> dict[str, int]:
    linear = 3 * width + width + hidden + width  # query, key, value; output; feed-forward in and out
    norms = 2 * width
    return {
        "adapters": blocks * (2 * width * size + size + width),
        "ia3": blocks * (2 * width + hidden),
        "bitfit": blocks * (linear + norms) + width,  # and the LayerNorm after the embeddings
    }


def merged(weight: Tensor, bias: Tensor, factor: Tensor, before: bool) -> tuple[Tensor, Tensor]:
    if before:
        return weight * factor, bias  # column j by factor j; the bias is added after the factors
    return factor[:, None] * weight, factor * bias  # row i by factor i, and so its bias


@wrong("you left h itself out: the bottleneck's result is added to h")
def _without_the_path(h, down, down_bias, up, up_bias):
    return gelu(h @ down.T + down_bias) @ up.T + up_bias


@wrong("you left the GELU out: without it the adapter is a linear map, which could be merged")
def _no_bend(h, down, down_bias, up, up_bias):
    return h + (h @ down.T + down_bias) @ up.T + up_bias


@wrong("you bent with ReLU; this adapter bends with GELU")
def _relu(h, down, down_bias, up, up_bias):
    return h + relu(h @ down.T + down_bias) @ up.T + up_bias


@wrong("you put the GELU after up; it stands between down and up")
def _bent_last(h, down, down_bias, up, up_bias):
    return h + gelu((h @ down.T + down_bias) @ up.T + up_bias)


@wrong("you left out down_bias, which is added before the GELU")
def _no_down_bias(h, down, down_bias, up, up_bias):
    return h + gelu(h @ down.T) @ up.T + up_bias


@wrong("you left out up_bias, which is added at the end")
def _no_up_bias(h, down, down_bias, up, up_bias):
    return h + gelu(h @ down.T + down_bias) @ up.T


def _counted(
    *, adapters: Callable | None = None, ia3: Callable | None = None, bitfit: Callable | None = None
):
    """The reference with some of its counts replaced."""
    replaced = {"adapters": adapters, "ia3": ia3, "bitfit": bitfit}

    def answer(width, hidden, blocks, size):
        right = trained(width, hidden, blocks, size)
        return right | {name: f(width, hidden, blocks, size) for name, f in replaced.items() if f}

    return answer


@wrong(
    "you multiplied columns where factors stand after the layer: they belong to the outputs, "
    "which are rows, and a square weight does not complain"
)
def _columns_always(weight, bias, factor, before):
    side = len(factor)
    fits = weight.shape[1] == side
    return (weight * factor if fits else factor[:, None] * weight), (bias if before else factor * bias)


@wrong(
    "you multiplied rows where factors stand before the layer: they belong to the inputs, which "
    "are columns, and a square weight does not complain"
)
def _rows_always(weight, bias, factor, before):
    fits = weight.shape[0] == len(factor)
    return (factor[:, None] * weight if fits else weight * factor), (bias if before else factor * bias)


@wrong("you left the bias as it was; a factor after the layer multiplies it as well")
def _bias_left(weight, bias, factor, before):
    return merged(weight, bias, factor, before)[0], bias


@wrong("you multiplied the bias where factors stand before the layer; there it is added after them")
def _bias_always(weight, bias, factor, before):
    weight = merged(weight, bias, factor, before)[0]
    return weight, factor * bias if len(factor) == len(bias) else bias * factor.mean()


@wrong("you added the factors; they multiply")
def _added(weight, bias, factor, before):
    if before:
        return weight + factor, bias
    return weight + factor[:, None], bias + factor


@wrong("you changed what was given (*= works in place); return new tensors, so that the base survives")
def _in_place(weight, bias, factor, before):
    weight *= factor if before else factor[:, None]
    if not before:
        bias *= factor
    return weight, bias


def _places() -> list[tuple]:
    draw = torch.Generator().manual_seed(20)
    found = []
    for shape, width, size in (((3,), 6, 2), ((2, 5), 4, 4), ((1,), 5, 1)):
        tensors = ((*shape, width), (size, width), (size,), (width, size), (width,))
        found.append(tuple(torch.randn(*one, generator=draw) for one in tensors))
    return found


def _layers() -> list[tuple]:
    draw = torch.Generator().manual_seed(2)
    found = []
    for outputs, inputs, before in ((4, 6, False), (5, 5, False), (5, 5, True), (3, 7, True)):
        weight, bias = torch.randn(outputs, inputs, generator=draw), torch.randn(outputs, generator=draw)
        factor = 1 + 0.5 * torch.randn(inputs if before else outputs, generator=draw)
        found.append((weight, bias, factor, before))
    return found


def _merge(answer: Callable, case: tuple) -> Any:
    weight, bias = case[0].clone(), case[1].clone()
    result = answer(weight, bias, *case[2:])
    if result is None or result is ...:
        return result
    new_weight, new_bias = result
    return {
        "the merged weight": new_weight,
        "the merged bias": new_bias,
        "the weight that was given": weight,
        "the bias that was given": bias,
    }


EXERCISES = (
    Exercise(
        number="20.1",
        reference=bottleneck,
        cases=_places,
        hints=(
            "Two paths leave h: h itself, unchanged, and the one through the bottleneck. They are added.",
            "down is (size, width) and up is (width, size), stored as a linear layer stores its weight: "
            "(..., width) @ down.T is (..., size).",
            "inner = gelu(h @ down.T + down_bias); return h + inner @ up.T + up_bias",
        ),
        wrong=(
            _without_the_path,
            _no_bend,
            _relu,
            _bent_last,
            _no_down_bias,
            _no_up_bias,
        ),
    ),
    Exercise(
        number="20.2",
        reference=trained,
        cases=lambda: [(384, 1536, 6, 16), (8, 20, 2, 3), (5, 7, 1, 1)],
        hints=(
            "Count one block first, then multiply by the blocks. Which of the three trains something outside "
            "the blocks as well?",
            "Adapter: two matrices of width × size, a bias of size, a bias of width. IA3: keys, values, "
            "feed-forward activation. A block has six linear layers with a bias and two LayerNorms.",
            "Biases of a block: query, key, value, output, feed-forward out and two LayerNorms have width "
            "numbers each, feed-forward in has hidden; the LayerNorm after the embeddings adds width once.",
        ),
        wrong=(
            wrong("you left out the adapter's two biases: size numbers and width numbers")(
                _counted(adapters=lambda d, f, n, m: n * 2 * d * m)
            ),
            wrong("you counted two adapters in each block; after the feed-forward alone there is one")(
                _counted(adapters=lambda d, f, n, m: 2 * n * (2 * d * m + m + d))
            ),
            wrong(
                "you took the adapter's last bias to be as wide as the feed-forward activation; it stands "
                "after the feed-forward, where there are width features"
            )(_counted(adapters=lambda d, f, n, m: n * (2 * d * m + m + f))),
            wrong("you gave the feed-forward activation width factors; it has hidden features")(
                _counted(ia3=lambda d, f, n, m: n * 3 * d)
            ),
            wrong("you gave the queries factors, too; IA3 has them on keys, values and the activation")(
                _counted(ia3=lambda d, f, n, m: n * (3 * d + f))
            ),
            wrong("you left out the LayerNorms: each of them has a bias")(
                _counted(bitfit=lambda d, f, n, m: n * (5 * d + f))
            ),
            wrong("you left out the LayerNorm after the embeddings, which no block contains")(
                _counted(bitfit=lambda d, f, n, m: n * (7 * d + f))
            ),
            wrong("you counted the LayerNorms' weights as well; BitFit trains biases alone")(
                _counted(bitfit=lambda d, f, n, m: n * (9 * d + f) + 2 * d)
            ),
        ),
    ),
    Exercise(
        number="20.3",
        reference=merged,
        cases=_layers,
        hints=(
            "Write out one output: factor i times (row i of the weight times x, plus bias i). What can the "
            "factor be pulled into?",
            "Factors after the layer multiply rows and the bias. Factors before it multiply what each column "
            "meets, and the bias is added later.",
            "if before: return weight * factor, bias; otherwise factor[:, None] * weight, factor * bias",
        ),
        wrong=(
            _columns_always,
            _rows_always,
            _bias_left,
            _bias_always,
            _added,
            _in_place,
        ),
        use=_merge,
    ),
)
