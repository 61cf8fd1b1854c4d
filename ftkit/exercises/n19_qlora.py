"""The exercises of notebook 19: int8 by rows, packing, counting bits, the gradient through a 4-bit base."""

from __future__ import annotations

import torch
from torch import Tensor

from .records import Exercise, Wrong


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


def _one_scale(weight):
    absmax = weight.abs().max()
    return torch.round(weight * 127 / absmax).to(torch.int8), absmax.expand(len(weight))


def _by_columns(weight):
    absmax = weight.abs().amax(dim=0)
    return torch.round(weight * 127 / absmax).to(torch.int8), absmax


def _cut_off(weight):
    absmax = weight.abs().amax(dim=1)
    return (weight * 127 / absmax[:, None]).to(torch.int8), absmax


def _wrapped_round(weight):
    absmax = weight.abs().amax(dim=1)
    codes = torch.round(weight * 128 / absmax[:, None])
    return torch.where(codes > 127, codes - 256, codes).to(torch.int8), absmax


def _signed_largest(weight):
    largest = weight.amax(dim=1)
    return torch.round(weight * 127 / largest[:, None]).clamp(-128, 127).to(torch.int8), largest


def _by_deviation(weight):
    deviation = weight.std(dim=1)
    return torch.round(weight * 127 / deviation[:, None]).clamp(-128, 127).to(torch.int8), deviation


def _other_order(codes):
    codes = codes.to(torch.uint8)
    return codes[1::2] << 4 | codes[::2]


def _halves(codes):
    first, second = codes.to(torch.uint8).chunk(2)
    return first << 4 | second


def _not_shifted(codes):
    codes = codes.to(torch.uint8)
    return codes[::2] | codes[1::2]


def _shifted_away(codes):
    codes = codes.to(torch.uint8)
    return codes[::2] << 8 | codes[1::2]


def _in_tens(codes):
    return (10 * codes[::2] + codes[1::2]).to(torch.uint8)


def _codes_alone(code_bits, block, second_block):
    return float(code_bits)


def _scales_in_bytes(code_bits, block, second_block):
    return code_bits + (4 / block if second_block is None else 1 / block + 4 / (block * second_block))


def _scales_not_shared(code_bits, block, second_block):
    return code_bits + (32 if second_block is None else 8 + 32 / second_block)


def _second_scale_forgotten(code_bits, block, second_block):
    return code_bits + (32 if second_block is None else 8) / block


def _second_scale_per_block(code_bits, block, second_block):
    return code_bits + 32 / block if second_block is None else code_bits + 8 / block + 32 / second_block


def _never_double(code_bits, block, second_block):
    return code_bits + 32 / block


def _base_is_frozen(g, codes, absmax, levels, a, b, alpha):
    return alpha / a.shape[0] * (g @ b @ a)


def _base_alone(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, absmax, levels, a, torch.zeros_like(b), alpha)


def _codes_as_weights(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, absmax, torch.arange(16.0), a, b, alpha)


def _without_absmax(g, codes, absmax, levels, a, b, alpha):
    return input_gradient(g, codes, torch.ones_like(absmax), levels, a, b, alpha)


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
            Wrong(_one_scale, "you took one scale for the whole matrix; each row has its own"),
            Wrong(_by_columns, "you took a scale per column (dim=0); a row is one output, so it is dim=1"),
            Wrong(_cut_off, "you cut the fraction off (.to(torch.int8) does that); round first"),
            Wrong(
                _wrapped_round,
                "you stretched to 128; int8 ends at 127, so the largest positive weight wraps to -128",
            ),
            Wrong(_signed_largest, "you took the largest weight; a row's largest may be negative: use abs()"),
            Wrong(_by_deviation, "you divided by the standard deviation; the scale is the absolute maximum"),
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
            Wrong(
                _other_order,
                "you put the first of the two into the lower four bits; it belongs to the upper four",
            ),
            Wrong(
                _halves,
                "you paired the first half with the second; a byte holds two neighbours",
            ),
            Wrong(
                _not_shifted,
                "you forgot the shift: both codes fall on the same four bits; move one up by << 4",
            ),
            Wrong(_shifted_away, "you shifted by 8 bits, out of the byte; four bits up is << 4"),
            Wrong(_in_tens, "you multiplied by 10; four bits count to 16, so it is * 16, which is << 4"),
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
            Wrong(_codes_alone, "you counted the codes alone; the scales take room, too"),
            Wrong(_scales_in_bytes, "you counted the scales in bytes; a scale of fp32 has 32 bits"),
            Wrong(
                _scales_not_shared,
                "you gave every weight a scale of its own; the weights of a block share one",
            ),
            Wrong(
                _second_scale_forgotten,
                "you forgot the scales of the scales: 32 bits for block * second_block weights",
            ),
            Wrong(
                _second_scale_per_block,
                "you divided the second scale by second_block alone; that many blocks share it, "
                "and each has `block` weights",
            ),
            Wrong(
                _never_double,
                "you left second_block out: with it, a block's scale takes 8 bits, and not 32",
            ),
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
            Wrong(
                _base_is_frozen,
                "you left the base out; it is frozen, that is, it gets no gradient, but the gradient of x "
                "passes through it",
            ),
            Wrong(_base_alone, "you left out the thin path: it adds (alpha / r) g B A"),
            Wrong(
                _codes_as_weights,
                "you used the codes as weights; a code is a place in the table: levels[codes]",
            ),
            Wrong(
                _without_absmax,
                "you forgot the scales: each block of a row is levels[codes] times its absmax",
            ),
            Wrong(_unscaled, "you left alpha / r out of the thin path"),
        ),
    ),
)
