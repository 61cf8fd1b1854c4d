"""The exercises of notebook 19: int8 by rows, packing, counting bits, the gradient through a 4-bit base."""

from __future__ import annotations

import torch
from torch import Tensor

from ..records import Exercise, wrong


def int8_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    absmax = weight.abs().amax(dim=1)  # (out,): one scale per row
    return torch.round(weight * 127 / absmax[:, None]).to(torch.int8), absmax


def packed(codes: Tensor) -> Tensor:
    codes = codes.to(torch.uint8)
    return codes[::2] << 4 | codes[1::2]  # the first of two neighbours in the upper four bits


def bits_per_weight(code_bits: int, block: int, second_block: int | None) -> float:
    if second_block is None:
        return code_bits + 32 / block
    return code_bits + 8 / block + 32 / (block * second_block)


def input_gradient(
    g: Tensor, codes: Tensor, absmax: Tensor, levels: Tensor, a: Tensor, b: Tensor, alpha: float
) -> Tensor:
    outputs, blocks = absmax.shape
    weight = (levels[codes].reshape(outputs, blocks, -1) * absmax[:, :, None]).reshape(outputs, -1)
    return g @ weight + alpha / a.shape[0] * (g @ b @ a)


@wrong("you took one scale for the whole matrix; each row has its own")
def _one_scale(weight):
    absmax = weight.abs().max()
    return torch.round(weight * 127 / absmax).to(torch.int8), absmax.expand(len(weight))


@wrong("you took a scale per column (dim=0); a row is one output, so it is dim=1")
def _by_columns(weight):
    absmax = weight.abs().amax(dim=0)
    return torch.round(weight * 127 / absmax).to(torch.int8), absmax


@wrong("you cut the fraction off (.to(torch.int8) does that); round first")
def _cut_off(weight):
    absmax = weight.abs().amax(dim=1)
    return (weight * 127 / absmax[:, None]).to(torch.int8), absmax


@wrong("you stretched to 128; int8 ends at 127, so the largest positive weight wraps to -128")
def _wrapped_round(weight):
    absmax = weight.abs().amax(dim=1)
    codes = torch.round(weight * 128 / absmax[:, None])
    return torch.where(codes > 127, codes - 256, codes).to(torch.int8), absmax


@wrong("you took the largest weight; a row's largest may be negative: use abs()")
def _signed_largest(weight):
    largest = weight.amax(dim=1)
    return torch.round(weight * 127 / largest[:, None]).clamp(-128, 127).to(torch.int8), largest


@wrong("you divided by the standard deviation; the scale is the absolute maximum")
def _by_deviation(weight):
    deviation = weight.std(dim=1)
    return torch.round(weight * 127 / deviation[:, None]).clamp(-128, 127).to(torch.int8), deviation


@wrong("you put the first of the two into the lower four bits; it belongs to the upper four")
def _other_order(codes):
    codes = codes.to(torch.uint8)
    return codes[1::2] << 4 | codes[::2]


@wrong("you paired the first half with the second; a byte holds two neighbours")
def _halves(codes):
    first, second = codes.to(torch.uint8).chunk(2)
    return first << 4 | second


@wrong("you forgot the shift: both codes fall on the same four bits; move one up by << 4")
def _not_shifted(codes):
    codes = codes.to(torch.uint8)
    return codes[::2] | codes[1::2]


@wrong("you shifted by 8 bits, out of the byte; four bits up is << 4")
def _shifted_away(codes):
    codes = codes.to(torch.uint8)
    return codes[::2] << 8 | codes[1::2]


@wrong("you multiplied by 10; four bits count to 16, so it is * 16, which is << 4")
def _in_tens(codes):
    return (10 * codes[::2] + codes[1::2]).to(torch.uint8)


@wrong("you counted the codes alone; the scales take room, too")
def _codes_alone(code_bits, block, second_block):
    return float(code_bits)


@wrong("you counted the scales in bytes; a scale of fp32 has 32 bits")
def _scales_in_bytes(code_bits, block, second_block):
    return code_bits + (4 / block if second_block is None else 1 / block + 4 / (block * second_block))


@wrong("you gave every weight a scale of its own; the weights of a block share one")
def _scales_not_shared(code_bits, block, second_block):
    return code_bits + (32 if second_block is None else 8 + 32 / second_block)


@wrong("you forgot the scales of the scales: 32 bits for block * second_block weights")
def _second_scale_forgotten(code_bits, block, second_block):
    return code_bits + (32 if second_block is None else 8) / block


@wrong(
    "you divided the second scale by second_block alone; that many blocks share it, "
    "and each has `block` weights"
)
def _second_scale_per_block(code_bits, block, second_block):
    return code_bits + 32 / block if second_block is None else code_bits + 8 / block + 32 / second_block


@wrong("you left second_block out: with it, a block's scale takes 8 bits, and not 32")
def _never_double(code_bits, block, second_block):
    return code_bits + 32 / block


@wrong(
    "you left the base out; it is frozen, that is, it gets no gradient, but the gradient of x "
    "passes through it"
)
def _base_is_frozen(g, codes, absmax, levels, a, b, alpha):
    return alpha / a.shape[0] * (g @ b @ a)


@wrong("you left out the thin path: it adds (alpha / r) g B A")
def _base_alone(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, absmax, levels, a, torch.zeros_like(b), alpha)


@wrong("you used the codes as weights; a code is a place in the table: levels[codes]")
def _codes_as_weights(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, absmax, torch.arange(16.0), a, b, alpha)


@wrong("you forgot the scales: each block of a row is levels[codes] times its absmax")
def _without_absmax(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, torch.ones_like(absmax), levels, a, b, alpha)


@wrong("you left alpha / r out of the thin path")
def _unscaled(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, absmax, levels, a, b, a.shape[0])


def _matrices() -> list[tuple]:
    draw = torch.Generator().manual_seed(19)
    found = []
    for outputs, inputs in ((3, 5), (4, 4), (2, 32)):
        weight = torch.randn(outputs, inputs, generator=draw) * torch.linspace(0.5, 3, outputs)[:, None]
        weight[0, 1], weight[-1, 2] = 4.0, -7.0  # a largest one of either sign, so that rows differ
        found.append((weight,))
    return found


def _layers() -> list[tuple]:
    draw = torch.Generator().manual_seed(91)
    found = []
    for rows, outputs, inputs, block, rank, alpha in ((2, 6, 8, 4, 2, 8.0), (3, 5, 5, 5, 1, 16.0)):
        g = torch.randn(rows, outputs, generator=draw)
        codes = torch.randint(16, (outputs, inputs), generator=draw)
        absmax = torch.rand(outputs, inputs // block, generator=draw) + 0.2
        levels = torch.linspace(-1, 1, 16) ** 3
        a = torch.randn(rank, inputs, generator=draw)
        found.append((g, codes, absmax, levels, a, torch.randn(outputs, rank, generator=draw), alpha))
    return found


EXERCISES = (
    Exercise(
        number="19.1",
        reference=int8_rows,
        cases=_matrices,
        hints=(
            "Each row has a scale of its own: the largest of its weights, without the sign.",
            "weight.abs().amax(dim=1) is (out,). Divide each row by its scale, so that it lies in [-1, 1], "
            "and stretch it to [-127, 127].",
            "absmax = weight.abs().amax(dim=1); "
            "return torch.round(weight * 127 / absmax[:, None]).to(torch.int8), absmax",
        ),
        wrong=(
            _one_scale,
            _by_columns,
            _cut_off,
            _wrapped_round,
            _signed_largest,
            _by_deviation,
        ),
    ),
    Exercise(
        number="19.2",
        reference=packed,
        cases=lambda: [
            (torch.tensor([1, 2, 15, 0, 7, 9]),),
            (torch.arange(16),),
            (torch.tensor([15, 15, 0, 8]),),
        ],
        hints=(
            "A byte has eight bits. The first of two neighbours goes to the upper four.",
            "<< 4 moves a number up by four bits, | puts two numbers with different bits together; "
            "codes[::2] are the first ones, codes[1::2] the second.",
            "codes = codes.to(torch.uint8); return codes[::2] << 4 | codes[1::2]",
        ),
        wrong=(
            _other_order,
            _halves,
            _not_shifted,
            _shifted_away,
            _in_tens,
        ),
    ),
    Exercise(
        number="19.3",
        reference=bits_per_weight,
        cases=lambda: [(4, 64, None), (4, 64, 256), (8, 128, None), (3, 32, 128), (2, 16, 64)],
        hints=(
            "Besides its own code, a weight carries its share of what the block stores.",
            "Without a second block: one scale of 32 bits for `block` weights. With one: a scale of 8 bits "
            "for `block` weights, and one of 32 bits for `second_block` blocks.",
            "code_bits + 32 / block, or code_bits + 8 / block + 32 / (block * second_block)",
        ),
        wrong=(
            _codes_alone,
            _scales_in_bytes,
            _scales_not_shared,
            _second_scale_forgotten,
            _second_scale_per_block,
            _never_double,
        ),
    ),
    Exercise(
        number="19.4",
        reference=input_gradient,
        cases=_layers,
        hints=(
            "What multiplied x on the way forward? Two matrices: the unpacked base, and (alpha / r) B A. "
            "The gradient goes back through both.",
            "The unpacked base is levels[codes], each block of a row times its absmax; it is (out, in). "
            "y = x @ weight.T, so the gradient of x is g @ weight.",
            "weight = (levels[codes].reshape(outputs, blocks, -1) * absmax[:, :, None]).reshape(outputs, -1)"
            "; return g @ weight + alpha / a.shape[0] * (g @ b @ a)",
        ),
        wrong=(
            _base_is_frozen,
            _base_alone,
            _codes_as_weights,
            _without_absmax,
            _unscaled,
        ),
    ),
)
