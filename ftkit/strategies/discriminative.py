"""Discriminative: a rate per layer, smaller towards the input (Howard & Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..records import Group, Tuned
from ..surgery import layer_groups


@dataclass(frozen=True)
class Discriminative:
    """The head at the full rate, every layer below at `decay` times the rate of the one above it."""

    decay: float = 0.8  # the paper: 1 / 2.6

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a decay outside (0, 1]."""
        if not 0 < self.decay <= 1:
            raise ValueError(
                f"expected a decay above 0 and at most 1, found {self.decay}; use HeadOnly for 0"
            )
        named = layer_groups(model)
        depths = range(len(named) - 1, -1, -1)
        for _, params in named:
            for parameter in params:
                parameter.requires_grad_(True)
        rows = (
            Group(name, tuple(params), lr_scale=self.decay**depth)
            for (name, params), depth in zip(named, depths, strict=True)
        )
        return Tuned(model, tuple(rows))
