"""LowRankProduct: y = x Wᵀ + bias + s (x Aᵀ) Bᵀ with W frozen, in as few passes over memory as there can be.

What autograd would do, with three differences: the thin update is added into the product with W instead of
into a new tensor, forward and backward alike; dB is computed as ((x Aᵀ)ᵀ dy)ᵀ, which CPUs do three times as
fast as dyᵀ (x Aᵀ); and no gradient of W or its bias is ever asked for.

    dx = dy W + (s dy B) A        dA = (s dy B)ᵀ x        dB = s dyᵀ (x Aᵀ)
"""

from __future__ import annotations

import torch
from torch import Tensor


class LowRankProduct(torch.autograd.Function):
    """(..., in) -> (..., out), by weight (out, in), bias (out,) | None, a (rank, in) and b (out, rank)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float):
        rows = x.reshape(-1, x.shape[-1])
        thin = rows @ a.T  # (rows, rank)
        y = torch.nn.functional.linear(rows, weight, bias)
        y.addmm_(thin, b.T.contiguous(), alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, thin)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, dy: Tensor):
        rows, weight, a, b, thin = ctx.saved_tensors
        dy_rows = dy.reshape(-1, dy.shape[-1])
        dthin = (dy_rows @ b).mul_(ctx.scale)  # (rows, rank)
        dx = None
        if ctx.needs_input_grad[0]:  # not below the first trained layer
            dx = (dy_rows @ weight).addmm_(dthin, a).view(*dy.shape[:-1], -1)
        return dx, None, None, dthin.T @ rows, (thin.T @ dy_rows).T.mul(ctx.scale), None


def serves(x: Tensor, weight: Tensor, a: Tensor) -> bool:
    """Whether all is in fp32 and nothing will be cast, so that the terms may be added in place."""
    single = x.dtype == weight.dtype == a.dtype == torch.float32
    return single and not torch.is_autocast_enabled(x.device.type)
