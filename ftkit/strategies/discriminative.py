"""Discriminative: a rate per layer, smaller towards the input (Howard & Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from torch import nn

from ..records import Tuned
from ..surgery import layer_groups, rows


@dataclass(frozen=True)
class Discriminative:
    """The head at the full rate, every layer below at `decay` times the rate of the one above it."""

    decay: float = 0.8  # the paper: 1 / 2.6

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a decay outside (0, 1]."""
        if not 0 < self.decay <= 1:
            raise ValueError(f"expected a decay above 0 and at most 1, got {self.decay}; use HeadOnly for 0")
        named = layer_groups(model)
        table = [
            rows(model, names, name=name, lr_scale=self.decay ** (len(named) - 1 - i))
            for i, (name, names) in enumerate(named)
        ]
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return Tuned(model, tuple(chain.from_iterable(table)))
