"""LowRank: a linear layer with a low-rank update beside it; what LoRA and QLoRA train."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..surgery import in_out, matrix, put, stand_in, unwrap, with_matrix


@stand_in
class LowRank(nn.Module):
    """y = W x + s B A x: W frozen, A (rank, in), B (out, rank) that starts at 0, s = alpha / rank.

    With DoRA, y = (length / |W + s B A|) (W + s B A) x, row by row; the norm is taken as a constant.
    """

    def __init__(self, base, *, rank: int, alpha: float, dropout: float = 0.0, rslora=False, dora=False):
        super().__init__()
        inputs, outputs = in_out(base)
        if not 1 <= rank <= min(inputs, outputs):
            limits = f"a rank from 1 to {min(inputs, outputs)} for a layer {inputs} -> {outputs}"
            raise ValueError(f"expected {limits}, found {rank}; choose another rank or other targets")
        self.base, self.dropout = base, nn.Dropout(dropout)
        self.alpha, self.scale = alpha, alpha / (rank**0.5 if rslora else rank)
        self.a = nn.Parameter(torch.empty(rank, inputs, device=base.weight.device))
        self.b = nn.Parameter(torch.zeros(outputs, rank, device=base.weight.device))
        self.length = nn.Parameter(matrix(base).norm(dim=1)) if dora else None  # (out,)
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        dropped = self.dropout(x)
        thin = self.scale * (dropped.to(self.a.dtype) @ self.a.T) @ self.b.T  # (..., out)
        if self.length is not None:
            stretch = self.length / (matrix(self.base) + self.delta()).norm(dim=1).detach()  # (out,)
            thin = stretch * thin + (stretch - 1) * (dropped.to(self.a.dtype) @ matrix(self.base).T)
        return self.base(x) + thin.to(x.dtype)

    def delta(self) -> Tensor:
        """The low-rank update as one matrix (out, in), in fp32."""
        return self.scale * self.b.float() @ self.a.float()

    def merged(self) -> Tensor:
        """What takes the place of W: (out, in), in fp32."""
        whole = matrix(self.base) + self.delta()
        return whole if self.length is None else whole * (self.length / whole.norm(dim=1))[:, None]


def pairs(model: nn.Module) -> dict[str, LowRank]:
    """The low-rank layers by the name of the layer that they wrap."""
    return {n: m for n, m in model.named_modules() if isinstance(m, LowRank)}


def merge(model: nn.Module) -> nn.Module:
    """A copy without wrappers, its weights computed in fp32 and its own; the model stays as it is."""
    merged = copy.deepcopy(model)
    for name, layer in pairs(merged).items():
        put(merged, name, with_matrix(layer.base, layer.merged()))
    return merged


def remove(model: nn.Module) -> nn.Module:
    """Take the wrappers off in place: the base comes back bit for bit."""
    return unwrap(model, LowRank)
