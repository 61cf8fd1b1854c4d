"""The same matrix products alone: what an update would take if everything else took no time."""

from __future__ import annotations

import torch
from torch import nn

from ftkit.surgery import in_out, is_linear

from .timing import Turn, clock
from .workload import Shape


def products(
    turn: Turn, *, model: nn.Module, shape: Shape, texts: int, trained: bool, dtype: torch.dtype
) -> float:
    """Seconds for the matrix products of a turn's updates, on their real tokens, nothing else computed.

    Every linear layer: the product forward, the gradient of its input, and with `trained` that of its
    weight. Attention: scores and their use, and their four gradients, at the mean length of each update.
    """
    device = next(model.parameters()).device
    sizes = [in_out(m) for m in model.modules() if is_linear(m)]
    rows = max(turn.tokens)
    wide = {n: torch.randn(rows, n, device=device, dtype=dtype) for pair in sizes for n in pair}
    weights = [torch.randn(pair[::-1], device=device, dtype=dtype) for pair in sizes]
    per_head = shape.width // shape.heads
    for updates in (turn.tokens[:1], turn.tokens):  # the first is warm-up
        began = clock()
        for tokens in updates:
            for weight in weights:
                out, into = weight.shape
                x, dy = wide[into][:tokens], wide[out][:tokens]
                torch.mm(x, weight.T)
                torch.mm(dy, weight)
                if trained:
                    torch.mm(dy.T, x)
            length = max(1, round(tokens / texts))
            some = torch.randn(texts * shape.heads, length, per_head, device=device, dtype=dtype)
            square = torch.randn(texts * shape.heads, length, length, device=device, dtype=dtype)
            for _ in range(shape.blocks):
                torch.bmm(some, some.transpose(1, 2))  # scores
                torch.bmm(square, some)  # their use
                torch.bmm(some, some.transpose(1, 2))  # gradient of the weights of attention
                torch.bmm(square.transpose(1, 2), some)  # of the values
                torch.bmm(square, some)  # of the queries
                torch.bmm(square.transpose(1, 2), some)  # of the keys
        seconds = clock() - began
    return seconds
