"""LoRA: beside a frozen matrix, the product of two thin ones (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..records import Tuned
from ..surgery import HEADS, freeze, in_out, is_transposed, linear_names, put, replace, trainable


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates beside the linear layers named in `targets`; without any, beside all but the head."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    dropout: float = 0.0  # of the input of A, while training

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a rank or a target that does not fit; then the model is as it was."""
        if pairs(model):
            raise ValueError("expected a model without LoRA, found one with it; call remove(model) first")
        targets = tuple(self.targets) or tuple(n for n in linear_names(model) if n not in (*HEADS, "lm_head"))
        replace(
            model, targets, lambda one: LowRank(one, rank=self.rank, alpha=self.alpha, dropout=self.dropout)
        )
        freeze(model)
        thin = [p for layer in pairs(model).values() for p in (layer.a, layer.b)]
        return Tuned(model, trainable(model, thin, name="lora"))


class LowRank(nn.Module):
    """y = W x + (alpha / rank) B A x: W frozen, A (rank, in), B (out, rank) that starts at 0."""

    def __init__(self, base: nn.Module, *, rank: int, alpha: float, dropout: float = 0.0):
        super().__init__()
        inputs, outputs = in_out(base)
        if not 1 <= rank <= min(inputs, outputs):
            limits = f"a rank from 1 to {min(inputs, outputs)} for a layer {inputs} -> {outputs}"
            raise ValueError(f"expected {limits}, found {rank}; choose another rank or other targets")
        self.base, self.scale, self.dropout = base, alpha / rank, nn.Dropout(dropout)
        self.a = nn.Parameter(torch.empty(rank, inputs, device=base.weight.device))
        self.b = nn.Parameter(torch.zeros(outputs, rank, device=base.weight.device))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        thin = self.scale * (self.dropout(x).to(self.a.dtype) @ self.a.T)  # (..., rank)
        return self.base(x) + (thin @ self.b.T).to(x.dtype)

    def delta(self) -> Tensor:
        """The update as one matrix (out, in), in fp32."""
        return self.scale * self.b.float() @ self.a.float()


def pairs(model: nn.Module) -> dict[str, LowRank]:
    """The low-rank layers by the name of the layer that they wrap."""
    return {n: m for n, m in model.named_modules() if isinstance(m, LowRank)}


def merge(model: nn.Module) -> nn.Module:
    """A copy without wrappers with the updates added in fp32, in weights of its own; the model stays."""
    merged = copy.deepcopy(model)
    for layer in pairs(merged).values():
        weight = layer.base.weight.float() + (layer.delta().T if is_transposed(layer.base) else layer.delta())
        layer.base.weight = nn.Parameter(weight.detach().to(layer.base.weight.dtype), requires_grad=False)
    return remove(merged)


def remove(model: nn.Module) -> nn.Module:
    """Take the wrappers off in place: the base comes back bit for bit."""
    for name, layer in pairs(model).items():
        put(model, name, layer.base)
    return model
