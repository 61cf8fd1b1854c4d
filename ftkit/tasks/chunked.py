"""The cross-entropy of a large vocabulary, a few tokens at a time: its logits never exist whole.

For one token with hidden state h, logits z = W h + b and label y (a unit vector),

    loss = ln Σ exp(z) − z·y        dloss/dz = softmax(z) − y = p − y

so what goes backward is known as soon as the logits are. Each chunk of tokens therefore makes its logits,
turns them into p − y, adds its part to the gradients of h, W and b, and lets them go.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..families import family
from ..surgery import before_output, output_layer
from .task import UNKNOWN, Batch

LARGE = 2**14  # words from which on the logits are made in chunks
CHUNK = 2**23  # logits at once, at most: every chunk passes once over the gradient of W, so not too few


def in_chunks(model: nn.Module, batch: Batch, targets: Tensor) -> Tensor | None:
    """The summed cross-entropy of a language model's batch; None where its logits may exist as a whole.

    That is for a small vocabulary, for logits that are not `output_layer(hidden)` alone (soft-capped ones),
    and where a strategy has wrapped the output layer. targets: (batch, tokens), -100 for nothing.
    """
    layer = output_layer(model)
    if layer is None or len(layer.weight) < LARGE or not family(model).plain_output:
        return None
    hidden = before_output(model, layer, input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return summed_cross_entropy(hidden.flatten(0, 1), layer, targets.flatten())


def summed_cross_entropy(hidden: Tensor, layer: nn.Linear, labels: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the labelled tokens; a scalar.

    hidden: (tokens, width), what the output layer reads; labels: (tokens,), -100 where none is asked for.
    """
    learning = torch.is_grad_enabled()
    return _Chunked.apply(hidden, layer.weight, layer.bias, labels, learning)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, learning: bool):
        for_hidden, for_weight, for_bias = (learning and needed for needed in ctx.needs_input_grad[:3])
        rows = max(1, min(CHUNK // len(weight), -(-len(labels) // 16)))  # z and p: an eighth of all logits
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        dhidden = torch.empty_like(hidden, dtype=total.dtype) if for_hidden else None
        dweight = torch.zeros_like(weight) if for_weight else None
        dbias = torch.zeros_like(bias) if for_bias else None
        for start in range(0, len(labels), rows):
            h, y = hidden[start : start + rows], labels[start : start + rows]
            z = nn.functional.linear(h, weight, bias)  # (rows, words); 16 bits under autocast
            asked, place = (y != UNKNOWN).to(total.dtype)[:, None], y.clamp(min=0)[:, None]
            low, logp = z.dtype, z.log_softmax(1, dtype=total.dtype)
            del z  # or logits and probabilities of two chunks would be alive at once
            total -= (logp.gather(1, place) * asked).sum()
            p = logp.exp_()
            p.scatter_add_(1, place, -torch.ones_like(asked))  # p - y
            if for_bias:
                dbias += (asked.T @ p)[0]
            # p is small and not yet scaled as fp16 needs it: there the products are made in fp32
            kind = torch.float32 if low == torch.float16 else low
            p = p.to(kind)
            with torch.autocast(hidden.device.type, enabled=False):
                if for_hidden:
                    dhidden[start : start + rows] = (p @ weight.to(kind)) * asked
                if for_weight:
                    _add_product(dweight, p.T, (h * asked).to(kind))
            del p, logp
        ctx.save_for_backward(dhidden, dweight, dbias)
        ctx.spent, ctx.kind = False, hidden.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        if ctx.spent:
            raise RuntimeError(
                "expected one backward pass through this loss, found a second; compute it again"
            )
        ctx.spent = True
        grads = [None if g is None else g.mul_(upstream.to(g.dtype)) for g in ctx.saved_tensors]
        dhidden = None if grads[0] is None else grads[0].to(ctx.kind)  # 16 bits only now that it is scaled
        return (dhidden, *grads[1:], None, None)


def _add_product(into: Tensor, left: Tensor, right: Tensor) -> None:
    """into += left @ right, in one pass where all are of one precision."""
    if into.dtype == left.dtype:
        into.addmm_(left, right)
    else:
        into += left @ right
