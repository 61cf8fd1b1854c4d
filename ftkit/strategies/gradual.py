"""GradualUnfreezing: layer by layer from the top (Howard & Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from torch import nn

from ..records import Tuned
from ..surgery import freeze, layer_groups, rows


@dataclass(frozen=True)
class GradualUnfreezing:
    """The head trains from the first epoch; every `epochs` epochs one more block does, from the top down."""

    epochs: int = 1

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for less than one epoch between two blocks."""
        if self.epochs < 1:
            raise ValueError(
                f"expected 1 epoch or more between two blocks, got {self.epochs}; use Full for none"
            )
        freeze(model)  # `updates` wakes each row at its epoch; what sleeps is not differentiated
        named = layer_groups(model)
        last = len(named) - 1
        table = [
            rows(model, names, name=name, from_epoch=(last - i) * self.epochs)
            for i, (name, names) in enumerate(named)
        ]
        return Tuned(model, tuple(chain.from_iterable(table)))
