"""HeadOnly: the output layer alone, over a fixed feature extractor (Donahue et al. 2013, arXiv:1310.1531)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..records import Tuned
from ..surgery import freeze, head, trainable


@dataclass(frozen=True)
class HeadOnly:
    """The new layer trains, everything below it is frozen."""

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a model without an output layer of its own."""
        if not head(model):
            raise ValueError(
                f"expected a new output layer, found none in {type(model).__name__}; use Full or LoRA"
            )
        freeze(model)
        return Tuned(model, trainable(model, [], name="head"))
