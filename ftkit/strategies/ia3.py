"""IA3: rescale keys, values and the feed-forward activation (Liu et al. 2022, arXiv:2205.05638)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import surgery
from ..families import family
from ..records import Tuned
from ..surgery import freeze, own_names, replace, stand_in, trainable, unwrap


@dataclass(frozen=True)
class IA3:
    """One factor per feature of keys, values and feed-forward activation.

    Where one layer computes queries, keys and values, as in GPT-2, queries are rescaled as well, as in PEFT.
    """

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a family of models without keys and values."""
        if rescaled(model):
            raise ValueError("expected a model without IA3, got one with it; call remove(model) first")
        known = family(model)
        if not known.keys_values:
            raise ValueError(
                f"expected layers that make keys and values, which {known.name} has not; use LoRA, "
                "Adapters or BitFit"
            )
        replace(model, known.keys_values, lambda one: Rescale(one, before=False))
        replace(model, (known.feed_forward_out,), lambda one: Rescale(one, before=True))
        freeze(model)
        return Tuned(model, trainable(model, own_names(model, Rescale, ["factor"]), name="ia3"))


@stand_in
class Rescale(nn.Module):
    """y = l * (W x + b), or y = W (l * x) + b where `before`; l starts at 1."""

    def __init__(self, base: nn.Module, *, before: bool):
        super().__init__()
        self.base, self.before = base, before
        self.factor = nn.Parameter(torch.ones(surgery.in_out(base)[not before], device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        if self.before:
            return self.base((x * self.factor).to(x.dtype))
        return (self.base(x) * self.factor).to(x.dtype)


def rescaled(model: nn.Module) -> dict[str, Rescale]:
    """The layers with factors by the name of the layer that they wrap."""
    return {n: m for n, m in model.named_modules() if isinstance(m, Rescale)}


def merge(model: nn.Module) -> nn.Module:
    """A copy without wrappers with the factors multiplied into its weights; the model stays as it is."""
    merged = copy.deepcopy(model)
    for name, layer in rescaled(merged).items():
        factor = layer.factor.detach().float()
        weight = surgery.matrix(layer.base) * (factor if layer.before else factor[:, None])
        base = surgery.with_matrix(layer.base, weight)
        if base.bias is not None and not layer.before:
            base.bias = nn.Parameter(base.bias.detach() * factor, requires_grad=False)
        surgery.put(merged, name, base)
    return merged


def remove(model: nn.Module) -> nn.Module:
    """Take the factors off in place: the base comes back bit for bit."""
    return unwrap(model, Rescale)
