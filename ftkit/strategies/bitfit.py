"""BitFit: the biases train and nothing else (Ben Zaken et al. 2021, arXiv:2106.10199)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..records import Tuned
from ..surgery import freeze, trainable


@dataclass(frozen=True)
class BitFit:
    """Every bias, those of the LayerNorms too, and the task's new head."""

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a model without biases, such as Llama."""
        biases = [p for name, p in model.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not biases:
            raise ValueError(
                f"expected a model with biases, found none in {type(model).__name__}; use IA3, which trains "
                "as few numbers"
            )
        freeze(model)
        return Tuned(model, trainable(model, biases, name="biases"))
