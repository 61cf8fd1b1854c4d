"""BitFit: the biases train and nothing else (Ben Zaken et al. 2021, arXiv:2106.10199)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..families import family
from ..records import Tuned
from ..surgery import freeze, head_names, trainable


@dataclass(frozen=True)
class BitFit:
    """Every bias, those of the LayerNorms too, and the task's new head."""

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a model without biases, such as Llama."""
        biases = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"]
        biases = [name for name in biases if name not in head_names(model)]
        if not biases:
            raise ValueError(
                f"expected a model with biases, got {family(model).name}, which has none; use IA3, which "
                "trains as few numbers"
            )
        freeze(model)
        return Tuned(model, trainable(model, biases, name="biases"))
